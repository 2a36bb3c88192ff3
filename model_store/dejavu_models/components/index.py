"""Nearest vectors by Euclidean distance: an HNSW graph, or a comparison of all vectors where there are few.

The trainer builds a graph with hnswlib (Malkov & Yashunin, Efficient and robust approximate nearest neighbor search
using HNSW graphs, 2018); the compiled models search it, on fully checked arrays.
"""

from __future__ import annotations

from typing import Any, Final

from dejavu_models.arrays import Floats, Integers, Singles
from dejavu_models.components.graph import Graph
from dejavu_models.native import native

_LANES: Final = 4
"""Number of dimensions that are compared at a time; the dimensions of graphs are padded to a multiple of it."""


class VectorIndex:
    """Search among vectors, numbered from 0; thread-safe.

    Args:
        vectors: the vectors, (m, dimensions), finite, or a graph over them.
        count: number of neighbours that searches will request, at most m.

    Attributes:
        compiled: the search in the compiled models.
    """

    def __init__(self, vectors: Singles | Graph, count: int) -> None:
        self._count = count
        self.compiled: Any
        if isinstance(vectors, Graph):
            self.compiled = native.graph(
                vectors.vectors,
                lanes=_LANES,
                entry=int(vectors.entry[0]),
                levels=vectors.levels,
                counts=vectors.counts,
                links=vectors.links,
                breadth=search_breadth(count),
            )
        else:
            self.compiled = native.scan(vectors)

    def nearest(self, vectors: Singles) -> tuple[Integers, Floats]:
        """Find the nearest neighbours of each query vector.

        Args:
            vectors: (n, dimensions), C-contiguous and finite.

        Returns:
            Numbers and squared distances, (n, count) each, nearest first.

        Raises:
            ValueError: if the dimensions do not fit.
        """
        found: tuple[Integers, Floats] = self.compiled.nearest(vectors, self._count)
        return found


def search_breadth(count: int) -> int:
    """Return the size of the candidate list for a graph search (ef): with hundreds, as many as asked for are enough."""
    return max(count, 64)
