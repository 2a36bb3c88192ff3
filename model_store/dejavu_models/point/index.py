"""Nearest vectors by Euclidean distance: by a scan where there are few, in a graph where there are many (hnswlib).

A graph is approximate and pays off from about a thousand vectors on (`python -m bench.index`). Each holds 2.5 MiB of
locks besides, which 47 of them would add to every worker.
"""

from __future__ import annotations

import io
import os
import struct
import tempfile
from pathlib import Path
from typing import Any, Protocol

import hnswlib
import numpy as np

from dejavu_models.arrays import Floats, Integers, Singles

SCAN_LIMIT = 1000
"""The most vectors that are scanned."""

LINKS = 16
CONSTRUCTION_BREADTH = 200

_ARRAY = b"\x93NUMPY"
"""How the file of a scan begins."""


class VectorIndex(Protocol):
    """Some vectors, numbered from 0; safe to ask from several threads."""

    def __len__(self) -> int:
        """How many vectors there are."""

    def nearest(self, vectors: Singles, count: int) -> tuple[Integers, Floats]:
        """The nearest vectors to each of some.

        Args:
            vectors: (n, dimensions), C-contiguous and finite: hnswlib checks neither dimension nor NaN.
            count: of neighbours, k, at most as many as there are vectors.

        Returns:
            Numbers and squared distances, (n, k) each, nearest first.
        """

    def to_bytes(self) -> bytes:
        """As a file that `load_index` reads; the same index gives the same bytes."""


class BruteForceIndex:
    """Compares with every vector.

    Args:
        vectors: (m, dimensions).
    """

    def __init__(self, vectors: Singles) -> None:
        self._vectors = vectors
        self._index = hnswlib.BFIndex(space="l2", dim=vectors.shape[1])
        self._index.init_index(max_elements=len(vectors))
        self._index.add_items(vectors, np.arange(len(vectors)))

    def __len__(self) -> int:
        return len(self._vectors)

    def nearest(self, vectors: Singles, count: int) -> tuple[Integers, Floats]:
        """See `VectorIndex`."""
        labels, squares = self._index.knn_query(vectors, k=count, num_threads=1)
        return labels.astype(np.int64), squares.astype(np.float64)

    def to_bytes(self) -> bytes:
        """See `VectorIndex`."""
        buffer = io.BytesIO()
        np.save(buffer, self._vectors, allow_pickle=False)
        return buffer.getvalue()


class HnswIndex:
    """A navigable small-world graph (Malkov & Yashunin 2018).

    Args:
        index: an hnswlib.Index.
    """

    def __init__(self, index: Any) -> None:
        self._index = index
        self._breadth = 0

    def __len__(self) -> int:
        return int(self._index.element_count)

    def nearest(self, vectors: Singles, count: int) -> tuple[Integers, Floats]:
        """See `VectorIndex`; with a recall above 0.99."""
        breadth = search_breadth(count)
        if breadth != self._breadth:  # hnswlib forgets it with the file
            self._index.set_ef(breadth)
            self._breadth = breadth
        labels, squares = self._index.knn_query(vectors, k=count, num_threads=1)
        return labels.astype(np.int64), squares.astype(np.float64)

    def to_bytes(self) -> bytes:
        """See `VectorIndex`."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            self._index.save_index(str(path))
            return path.read_bytes()


def search_breadth(neighbours: int) -> int:
    """Candidates held while a graph is searched for so many neighbours (ef).

    A quarter more than them keeps the recall above 0.99, and twice as many would take half as long again; a test
    measures the recall.
    """
    return max(5 * neighbours // 4, 64)


def build_index(vectors: Singles, seed: int) -> VectorIndex:
    """Indexes vectors; the same vectors and seed give the same index.

    Args:
        vectors: (m, dimensions), C-contiguous.
        seed: of the graph's levels, where there is one.
    """
    return BruteForceIndex(vectors) if len(vectors) <= SCAN_LIMIT else HnswIndex(build_hnsw(vectors, seed))


def build_hnsw(vectors: Singles, seed: int) -> Any:
    """The graph of vectors, however few they are, as an hnswlib.Index."""
    index = hnswlib.Index(space="l2", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=LINKS, ef_construction=CONSTRUCTION_BREADTH, random_seed=seed)
    # Several threads would link the same points in another order each time.
    index.add_items(vectors, np.arange(len(vectors)), num_threads=1)
    return index


def load_index(content: bytes, dimensions: int, count: int) -> VectorIndex:
    """An index from the bytes of its file, whose hash was verified: hnswlib trusts what it reads.

    Raises:
        ValueError: if it is none, or its dimensions or size are not what is expected.
    """
    if content.startswith(_ARRAY):
        vectors = np.load(io.BytesIO(content), allow_pickle=False)
        if vectors.dtype != np.float32 or vectors.shape != (count, dimensions) or not np.isfinite(vectors).all():
            raise ValueError(f"the index holds {vectors.dtype} of shape {vectors.shape}, not {count} of {dimensions}")
        return BruteForceIndex(np.ascontiguousarray(vectors))
    return HnswIndex(_load_hnsw(content, dimensions, count))


def _load_hnsw(content: bytes, dimensions: int, count: int) -> Any:
    header = struct.Struct("=6Q")
    if len(content) < header.size:
        raise ValueError("the index is too short to be one")
    # hnswlib would take the file's word for both.
    _, _, held, _, label_offset, data_offset = header.unpack_from(content)
    if (found := (label_offset - data_offset) // 4) != dimensions or held != count:
        raise ValueError(f"the index holds {held} vectors of {found}, not {count} of {dimensions}")
    index = hnswlib.Index(space="l2", dim=dimensions)
    # hnswlib reads files only. It gets one of its own, as whatever now lies where the bytes came from was not verified,
    # and one in memory: a worker has to start on a full disk too.
    with os.fdopen(os.memfd_create("dejavu-index"), "wb") as file:
        file.write(content)
        file.flush()
        index.load_index(f"/proc/self/fd/{file.fileno()}")
    return index
