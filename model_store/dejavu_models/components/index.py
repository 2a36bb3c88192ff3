"""Nearest-neighbour indexes by Euclidean distance: brute force for few vectors, HNSW graphs for many.

A graph is approximate and faster only from about a thousand vectors on (docs/decisions/0055-similar-games.md). The
trainer builds it with hnswlib; the compiled models search it in hnswlib's order, on fully checked arrays. hnswlib's own
loader checks nothing.
"""

from __future__ import annotations

import io
from typing import Any, Protocol

import numpy as np

from dejavu_models.arrays import Floats, Integers, Singles
from dejavu_models.components.graph import Graph, vectors_of
from dejavu_models.native import native

LANES = 4
"""Number of dimensions that are compared at a time; the dimensions of graphs are padded to a multiple of it."""

_ARRAY = b"\x93NUMPY"
"""Magic bytes of the file of an index that compares all vectors."""

_ARRAYS = b"PK"
"""Magic bytes of a graph's file."""


class VectorIndex(Protocol):
    """Index of vectors, numbered from 0; thread-safe.

    Attributes:
        compiled: the search in the compiled models.
        content: bytes of its file, for `read_index`; empty if the index was read from a file.
    """

    compiled: Any
    content: bytes

    def __len__(self) -> int:
        """Number of vectors."""

    def nearest(self, vectors: Singles, count: int) -> tuple[Integers, Floats]:
        """Find the nearest neighbours of each query vector.

        Args:
            vectors: (n, dimensions), C-contiguous and finite.
            count: number of neighbours, k, at most the number of indexed vectors.

        Returns:
            Numbers and squared distances, (n, k) each, nearest first.

        Raises:
            ValueError: if dimensions or count do not fit.
        """


class BruteForceIndex:
    """Exact search over all vectors; see `VectorIndex`.

    Args:
        vectors: (m, dimensions), finite.
    """

    def __init__(self, vectors: Singles) -> None:
        self._size = len(vectors)
        self.compiled = native.scan(vectors)
        self.content = b""

    def __len__(self) -> int:
        return self._size

    @classmethod
    def built(cls, vectors: Singles) -> BruteForceIndex:
        """Return the index of vectors, with its content."""
        index, buffer = cls(vectors), io.BytesIO()
        np.save(buffer, vectors, allow_pickle=False)
        index.content = buffer.getvalue()
        return index

    def __reduce__(self) -> tuple[Any, ...]:
        return _built_again, (self.content, 0)

    def nearest(self, vectors: Singles, count: int) -> tuple[Integers, Floats]:
        """See `VectorIndex`."""
        found: tuple[Integers, Floats] = self.compiled.nearest(vectors, count)
        return found


class GraphIndex:
    """Search in a graph: the neighbours that hnswlib finds, with a recall above 0.99; see `VectorIndex`.

    Args:
        graph: the graph.
        neighbours: number of neighbours that searches will request.
    """

    def __init__(self, graph: Graph, neighbours: int) -> None:
        self._size = len(graph)
        self._neighbours = neighbours
        self.content = b""
        self.compiled = native.graph(
            vectors_of(graph.tenths, graph.weights),
            lanes=LANES,
            entry=int(graph.entry[0]),
            levels=graph.levels,
            counts=graph.counts,
            links=graph.links,
            breadth=search_breadth(neighbours),
        )

    def __len__(self) -> int:
        return self._size

    @classmethod
    def built(cls, graph: Graph, neighbours: int) -> GraphIndex:
        """Return the index of a graph, with its content."""
        index = cls(graph, neighbours)
        index.content = graph.to_bytes()
        return index

    def __reduce__(self) -> tuple[Any, ...]:
        return _built_again, (self.content, self._neighbours)

    def nearest(self, vectors: Singles, count: int) -> tuple[Integers, Floats]:
        """See `VectorIndex`."""
        found: tuple[Integers, Floats] = self.compiled.nearest(vectors, count)
        return found


def _built_again(content: bytes, neighbours: int) -> VectorIndex:
    """Return a pickled index of `built`: what is compiled is not pickled."""
    index: VectorIndex
    if content.startswith(_ARRAYS):
        index = GraphIndex(Graph.from_bytes(content), neighbours)
    else:
        index = BruteForceIndex(np.load(io.BytesIO(content), allow_pickle=False))
    index.content = content
    return index


def search_breadth(neighbours: int) -> int:
    """Return the size of the candidate list for a graph search (ef).

    1.25 × the number of neighbours, at least 64, keeps the recall above 0.99 (a test measures it); 2 × would take 50 %
    longer.
    """
    return max(5 * neighbours // 4, 64)


def read_index(content: bytes, dimensions: int, count: int, neighbours: int) -> VectorIndex:
    """Read an index from the bytes of its file, and check every value.

    Args:
        content: the bytes.
        dimensions: dimensions that the vectors must have.
        count: number of vectors that there must be.
        neighbours: number of neighbours that searches will request.

    Raises:
        ValueError, KeyError: if the content is no index, or has other dimensions or another size than expected.
    """
    if content.startswith(_ARRAYS):
        graph = Graph.from_bytes(content)
        if (len(graph), graph.dimensions) != (count, dimensions):
            raise ValueError(f"the index holds {len(graph)} vectors of {graph.dimensions}, not {count} of {dimensions}")
        if not graph.is_connected():  # a search may find fewer vectors than requested, for some queries only
            raise ValueError("the graph has parts that a search does not reach")
        return GraphIndex(graph, neighbours)
    if content.startswith(_ARRAY):
        vectors = np.load(io.BytesIO(content), allow_pickle=False)
        if vectors.dtype != np.float32 or vectors.shape != (count, dimensions) or not np.isfinite(vectors).all():
            raise ValueError(f"the index holds {vectors.dtype} of shape {vectors.shape}, not {count} of {dimensions}")
        return BruteForceIndex(np.ascontiguousarray(vectors))
    raise ValueError("the index is neither an array of vectors nor the arrays of a graph")
