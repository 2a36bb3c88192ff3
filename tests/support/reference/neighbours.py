"""Exact search by NumPy."""

from __future__ import annotations

import numpy as np

from dejavu_models.arrays import Floats, Integers, Singles
from dejavu_models.point.graph import Graph, vectors_of
from dejavu_models.point.index import BruteForceIndex


class ReferenceIndex(BruteForceIndex):
    """Compares all vectors; see `VectorIndex`.

    Args:
        vectors: (m, dimensions).
    """

    def __init__(self, vectors: Singles) -> None:
        super().__init__(vectors)
        self.vectors = vectors

    @classmethod
    def of_file(cls, content: bytes) -> ReferenceIndex:
        """Return the index of the vectors of a graph's file."""
        graph = Graph.from_bytes(content)
        return cls(vectors_of(graph.tenths, graph.weights))

    def nearest(self, vectors: Singles, count: int) -> tuple[Integers, Floats]:
        """See `VectorIndex`."""
        squares = np.square(vectors[:, None].astype(float) - self.vectors).sum(axis=2)
        found = np.argsort(squares, axis=1, kind="stable")[:, :count]
        return found, np.take_along_axis(squares, found, axis=1)
