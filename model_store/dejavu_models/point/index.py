"""Nearest-neighbour indexes by Euclidean distance: brute force for few vectors, an HNSW graph for many (hnswlib).

A graph is approximate and faster only from about a thousand vectors on (`python -m bench.index`). Each graph also
allocates 2.5 MiB of locks, which every worker would pay for up to 47 graphs.
"""

from __future__ import annotations

import io
import os
import struct
import tempfile
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np

from dejavu_models.arrays import Floats, Integers, Singles

SCAN_LIMIT = 1000
"""Maximum number of vectors for a brute-force index."""

LINKS = 16
CONSTRUCTION_BREADTH = 200

_ARRAY = b"\x93NUMPY"
"""Magic bytes of a brute-force index file."""


class VectorIndex:
    """Index of vectors, numbered from 0; thread-safe.

    Args:
        index: an index of hnswlib.
        size: number of vectors.
    """

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
        return labels.astype(np.int64), squares.astype(np.float64)

    def to_bytes(self) -> bytes:
        """Serializes to a file for `load_index`; the same index gives the same bytes."""
        raise NotImplementedError


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

    def to_bytes(self) -> bytes:
        """See `VectorIndex`."""
        buffer = io.BytesIO()
        np.save(buffer, self._vectors, allow_pickle=False)
        return buffer.getvalue()


class HnswIndex(VectorIndex):
    """A navigable small-world graph (Malkov & Yashunin 2018); recall is above 0.99.

    Args:
        index: an hnswlib.Index.
    """

    def __init__(self, index: Any) -> None:
        super().__init__(index, int(index.element_count))
        self._breadth = 0

    def nearest(self, vectors: Singles, count: int) -> tuple[Integers, Floats]:
        """See `VectorIndex`."""
        breadth = search_breadth(count)
        if breadth != self._breadth:  # hnswlib does not store it in the file
            self._index.set_ef(breadth)
            self._breadth = breadth
        return super().nearest(vectors, count)

    def to_bytes(self) -> bytes:
        """See `VectorIndex`."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            self._index.save_index(str(path))
            return path.read_bytes()


def search_breadth(neighbours: int) -> int:
    """Returns the size of the candidate list for a graph search (ef).

    1.25 × the number of neighbours, at least 64, keeps the recall above 0.99 (a test measures it); 2 × would take 50 %
    longer.
    """
    return max(5 * neighbours // 4, 64)


def build_index(vectors: Singles, seed: int) -> VectorIndex:
    """Builds an index; the same vectors and seed give the same index.

    Args:
        vectors: (m, dimensions), C-contiguous.
        seed: seed of the graph levels; not used by a brute-force index.
    """
    return BruteForceIndex(vectors) if len(vectors) <= SCAN_LIMIT else HnswIndex(build_hnsw(vectors, seed))


def build_hnsw(vectors: Singles, seed: int) -> Any:
    """Builds an hnswlib.Index graph for any number of vectors."""
    index = hnswlib.Index(space="l2", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=LINKS, ef_construction=CONSTRUCTION_BREADTH, random_seed=seed)
    # With several threads, the order of links would not be deterministic.
    index.add_items(vectors, np.arange(len(vectors)), num_threads=1)
    return index


def load_index(content: bytes, dimensions: int, count: int) -> VectorIndex:
    """Loads an index from the bytes of its file. Verify the file's hash first: hnswlib does not validate its input.

    Raises:
        ValueError: if it is not an index, or has other dimensions or another size than expected.
    """
    if content.startswith(_ARRAY):
        vectors = np.load(io.BytesIO(content), allow_pickle=False)
        if vectors.dtype != np.float32 or vectors.shape != (count, dimensions) or not np.isfinite(vectors).all():
            raise ValueError(f"the index holds {vectors.dtype} of shape {vectors.shape}, not {count} of {dimensions}")
        return BruteForceIndex(np.ascontiguousarray(vectors))
    header = struct.Struct("=6Q")
    if len(content) < header.size:
        raise ValueError("the index is too short for its header")
    # Check both here: hnswlib trusts the header.
    _, _, stored_count, _, label_offset, data_offset = header.unpack_from(content)
    if (stored_dimensions := (label_offset - data_offset) // 4) != dimensions or stored_count != count:
        raise ValueError(f"the index holds {stored_count} vectors of {stored_dimensions}, not {count} of {dimensions}")
    index = hnswlib.Index(space="l2", dim=dimensions)
    # hnswlib reads only files. Use an in-memory file with the verified bytes: the original file may have changed since,
    # and a worker must be able to start on a full disk.
    with os.fdopen(os.memfd_create("dejavu-index"), "wb") as file:
        file.write(content)
        file.flush()
        index.load_index(f"/proc/self/fd/{file.fileno()}")
    return HnswIndex(index)
