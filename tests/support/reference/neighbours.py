"""Exact search by NumPy."""

from __future__ import annotations

import numpy as np

from dejavu_models.arrays import Floats, Integers, Singles
from dejavu_models.point.index import BruteForceIndex


class ReferenceIndex(BruteForceIndex):
    """Compares all vectors; see `VectorIndex`.

    Args:
        vectors: (m, dimensions).
    """

    def __init__(self, vectors: Singles) -> None:
        super().__init__(vectors)
        self.vectors = vectors

    def nearest(self, vectors: Singles, count: int) -> tuple[Integers, Floats]:
        """See `VectorIndex`."""
        squares = np.square(vectors[:, None].astype(float) - self.vectors).sum(axis=2)
        found = np.argsort(squares, axis=1, kind="stable")[:, :count]
        return found, np.take_along_axis(squares, found, axis=1)
