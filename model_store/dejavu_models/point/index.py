"""Nearest-neighbour indexes by Euclidean distance: brute force for few vectors, HNSW graphs for many.

A graph is approximate and faster only from about a thousand vectors on (`python -m bench.index`). hnswlib builds them;
the compiled models search them where they were built, in the order in which hnswlib does and at two thirds of its cost.
Without them the graphs of all minutes are parts of a few indexes of hnswlib, since each one allocates 2.5 MiB of locks:
see `graph`.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np

from dejavu_models.arrays import Floats, Integers, Singles, Tenths
from dejavu_models.native import native
from dejavu_models.point.graph import (
    Graph,
    padded,
    padded_dimensions,
    vectors_of,
    write_hnswlib,
)

SCAN_LIMIT = 1000
"""Maximum number of vectors for a brute-force index."""

LINKS = 12
"""Links of a vector (M): with 8, recall among 11,000 vectors is 0.993 at K = 50, with 16 a bundle is a fifth larger."""

CONSTRUCTION_BREADTH = 200

LANES = 4
"""Dimensions of graphs are padded to a multiple of this, which are compared at a time."""

_ARRAY = b"\x93NUMPY"
"""Magic bytes of a brute-force index file."""

_ARRAYS = b"PK"
"""Magic bytes of a graph's file."""


class VectorIndex:
    """Index of vectors, numbered from 0; thread-safe.

    Args:
        index: an index of hnswlib.
        size: number of vectors.

    Attributes:
        compiled: the same search in the compiled models; None if they lack it.
    """

    compiled: Any = None

    def __init__(self, index: Any, size: int) -> None:
        self._index = index
        self._size = size

    def __len__(self) -> int:
        """Number of vectors."""
        return self._size

    def nearest(self, vectors: Singles, count: int) -> tuple[Integers, Floats]:
        """Finds the nearest neighbours of each query vector.

        Args:
            vectors: (n, dimensions), C-contiguous and finite: hnswlib checks neither dimension nor NaN.
            count: number of neighbours, k, at most the number of indexed vectors.

        Returns:
            Numbers and squared distances, (n, k) each, nearest first.
        """
        labels, squares = self._index.knn_query(vectors, k=count, num_threads=1)
        return labels.view(np.int64), squares.astype(np.float64)

    def to_bytes(self) -> bytes:
        """Serializes to a file for `load_index`; the same index gives the same bytes.

        Raises:
            ValueError: if the index was loaded: its file is what it was loaded from.
        """
        raise ValueError("an index that was loaded is not serialized again")


class BruteForceIndex(VectorIndex):
    """Exact search over all vectors.

    Args:
        vectors: (m, dimensions).
    """

    def __init__(self, vectors: Singles) -> None:
        super().__init__(hnswlib.BFIndex(space="l2", dim=vectors.shape[1]), len(vectors))
        self._vectors = vectors
        self._index.init_index(max_elements=len(vectors))
        self._index.add_items(vectors, np.arange(len(vectors)))
        self.compiled = None if native is None else native.scan(vectors)

    def to_bytes(self) -> bytes:
        """See `VectorIndex`."""
        buffer = io.BytesIO()
        np.save(buffer, self._vectors, allow_pickle=False)
        return buffer.getvalue()


class GraphIndex(VectorIndex):
    """A graph that shares an index of hnswlib with others; recall is above 0.99.

    Args:
        index: an hnswlib.Index of the graphs, with the breadth of searches set.
        size: number of vectors of the graph.
        position: number of the graph in the index.
        graph: the graph, to serialize it; None if it was loaded.
    """

    def __init__(self, index: Any, size: int, position: int, graph: Graph | None = None) -> None:
        super().__init__(index, size)
        self._position = position
        self._dimensions = int(index.dim)
        self._graph = graph

    def nearest(self, vectors: Singles, count: int) -> tuple[Integers, Floats]:
        """See `VectorIndex`."""
        return super().nearest(padded(vectors, self._dimensions, self._position), count)

    def to_bytes(self) -> bytes:
        """See `VectorIndex`."""
        return super().to_bytes() if self._graph is None else self._graph.to_bytes()


class CompiledIndex(VectorIndex):
    """A graph that the compiled models search: the same neighbours as hnswlib finds; recall is above 0.99.

    Args:
        graph: the graph.
        neighbours: number of neighbours that searches will ask for.
    """

    def __init__(self, graph: Graph, neighbours: int) -> None:
        self.compiled = native.graph(
            vectors_of(graph.tenths, graph.weights),
            lanes=LANES,
            entry=int(graph.entry[0]),
            levels=graph.levels,
            counts=graph.counts,
            links=graph.links,
            breadth=search_breadth(neighbours),
        )
        super().__init__(self.compiled, len(graph))

    def nearest(self, vectors: Singles, count: int) -> tuple[Integers, Floats]:
        """See `VectorIndex`."""
        found: tuple[Integers, Floats] = self.compiled.nearest(vectors, count)
        return found


def search_breadth(neighbours: int) -> int:
    """Returns the size of the candidate list for a graph search (ef).

    1.25 × the number of neighbours, at least 64, keeps the recall above 0.99 (a test measures it); 2 × would take 50 %
    longer.
    """
    return max(5 * neighbours // 4, 64)


def build_index(tenths: Tenths, weights: Floats, neighbours: int, seed: int) -> VectorIndex:
    """Builds an index of the vectors that `graph.vectors_of` gives; the same arguments give the same index.

    Args:
        tenths: (m, dimensions), differences in tenths of a point; no two rows the same.
        weights: (dimensions,).
        neighbours: number of neighbours that searches will ask for.
        seed: seed of the graph levels; not used by a brute-force index.
    """
    vectors = vectors_of(tenths, weights)
    if len(vectors) > SCAN_LIMIT:
        dimensions = padded_dimensions(vectors.shape[1])
        with _file_in_memory() as path:
            build_hnsw(padded(vectors, dimensions, 0), seed).save_index(path)
            graph = Graph.from_hnswlib(Path(path).read_bytes(), tenths, weights)
        # In a graph that falls apart a search may find fewer vectors than requested, which hnswlib reports as an error.
        if graph.is_connected():
            return GraphIndex(_load_together([graph], dimensions, neighbours), len(graph), 0, graph)
    return BruteForceIndex(vectors)


def build_hnsw(vectors: Singles, seed: int, links: int = LINKS) -> Any:
    """Builds an hnswlib.Index graph for any number of vectors."""
    index = hnswlib.Index(space="l2", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=links, ef_construction=CONSTRUCTION_BREADTH, random_seed=seed)
    # With several threads, the order of links would not be deterministic.
    index.add_items(vectors, np.arange(len(vectors)), num_threads=1)
    return index


def read_index(content: bytes, dimensions: int, count: int) -> VectorIndex | Graph:
    """Read an index, or the graph of one, from the bytes of its file; both are checked whole.

    Raises:
        ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile: if it is neither, or has other dimensions or
            another size than expected.
    """
    if content.startswith(_ARRAYS):
        graph = Graph.from_bytes(content)
        if (len(graph), graph.dimensions) != (count, dimensions):
            raise ValueError(_other_shape(len(graph), graph.dimensions, count, dimensions))
        return graph
    if content.startswith(_ARRAY):
        vectors = np.load(io.BytesIO(content), allow_pickle=False)
        if vectors.dtype != np.float32 or vectors.shape != (count, dimensions) or not np.isfinite(vectors).all():
            raise ValueError(f"the index holds {vectors.dtype} of shape {vectors.shape}, not {count} of {dimensions}")
        return BruteForceIndex(np.ascontiguousarray(vectors))
    raise ValueError("the index is neither an array of vectors nor the arrays of a graph")


def join_graphs(graphs: Mapping[int, Graph], neighbours: int, *, compiled: bool = True) -> dict[int, VectorIndex]:
    """Returns the index of each minute: compiled ones, or as few indexes of hnswlib as the graphs' dimensions allow.

    Args:
        graphs: by minute.
        neighbours: number of neighbours that searches will ask for.
        compiled: whether the compiled models may search them.
    """
    if compiled and native is not None:
        return {minute: CompiledIndex(graph, neighbours) for minute, graph in graphs.items()}
    by_dimensions: dict[int, list[int]] = {}
    for minute, graph in graphs.items():
        by_dimensions.setdefault(padded_dimensions(graph.dimensions), []).append(minute)
    result: dict[int, VectorIndex] = {}
    for dimensions, minutes in by_dimensions.items():
        index = _load_together([graphs[minute] for minute in minutes], dimensions, neighbours)
        for position, minute in enumerate(minutes):
            result[minute] = GraphIndex(index, len(graphs[minute]), position)
    return result


def _load_together(graphs: list[Graph], dimensions: int, neighbours: int) -> Any:
    index = hnswlib.Index(space="l2", dim=dimensions)
    with _file_in_memory() as path:
        with Path(path).open("wb") as file:
            write_hnswlib(graphs, dimensions, file)
        index.load_index(path)
    # Set once, not by each query: threads share the index.
    index.set_ef(search_breadth(neighbours))
    return index


def _other_shape(count: int, dimensions: int, expected_count: int, expected_dimensions: int) -> str:
    return f"the index holds {count} vectors of {dimensions}, not {expected_count} of {expected_dimensions}"


@contextlib.contextmanager
def _file_in_memory() -> Iterator[str]:
    """Yields the path of a file that no disk holds."""
    descriptor = os.memfd_create("dejavu-index")
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
