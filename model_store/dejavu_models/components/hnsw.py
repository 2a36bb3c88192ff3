"""Builds search graphs with hnswlib, which bundles store as arrays."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hnswlib
import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Singles
from dejavu_models.components.graph import Graph
from dejavu_models.errors import FitError

LINKS = 12
"""Links of a vector (M): the recall of the groups of a forecast is above 0.99 (a test measures it)."""

CONSTRUCTION_BREADTH = 200

_HEADER = struct.Struct("=6QiI3QdQ")


class _Header(NamedTuple):
    """Header of hnswlib's file, in its order."""

    level_0_offset: int
    capacity: int
    vectors: int
    bytes_a_vector: int
    label_offset: int
    vector_offset: int
    top_level: int
    entry: int
    upper_links: int
    level_0_links: int
    links: int
    level_factor: float
    construction_breadth: int


def build_graph(vectors: Singles, seed: int) -> Graph:
    """Build the graph of vectors, (m, dimensions); the same arguments give the same graph.

    Raises:
        FitError: if a search does not reach every vector.
    """
    with _file_in_memory() as path:
        build_hnsw(_padded(vectors), seed).save_index(path)
        graph = read_hnswlib(Path(path).read_bytes(), vectors)
    if not graph.is_connected():
        raise FitError("the index of similar games has parts that a search does not reach; another --seed may do")
    return graph


def _padded(vectors: Singles) -> Singles:
    """Return vectors with zeros up to a multiple of the 16 dimensions that hnswlib compares at a time."""
    return np.pad(vectors, ((0, 0), (0, -vectors.shape[1] % 16)))


def build_hnsw(vectors: Singles, seed: int, links: int = LINKS) -> Any:
    """Build an hnswlib.Index graph for any number of vectors."""
    index = hnswlib.Index(space="l2", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=links, ef_construction=CONSTRUCTION_BREADTH, random_seed=seed)
    # With several threads, the order of links would not be deterministic.
    index.add_items(vectors, np.arange(len(vectors)), num_threads=1)
    return index


def read_hnswlib(content: bytes, vectors: Singles) -> Graph:
    """Read the graph from a file of hnswlib whose labels are the vectors' numbers, ascending.

    Args:
        content: the file.
        vectors: its vectors.
    """
    header = _Header(*_HEADER.unpack_from(content))
    count, dimensions = header.vectors, (header.label_offset - header.vector_offset) // 4
    level_0 = _level_0_type(header.level_0_links, dimensions)
    stored = np.frombuffer(content, dtype=level_0, count=count, offset=_HEADER.size)
    lists = [_sorted_links(row[0], row[1:]) for row in _words(stored, header.level_0_links)]
    words = np.frombuffer(content, dtype="<u4", offset=_HEADER.size + stored.nbytes)
    levels, position = np.zeros(count, dtype=np.uint8), 0
    for number in range(count):
        size = int(words[position]) // 4
        upper = words[position + 1 : position + 1 + size].reshape(-1, 1 + header.upper_links)
        levels[number] = len(upper)
        lists += [_sorted_links(row[0], row[1:]) for row in upper]
        position += 1 + size
    number_type = np.uint16 if count <= 2**16 else np.uint32
    return Graph(
        vectors=vectors,
        entry=np.array([header.entry], dtype=number_type),
        levels=levels,
        counts=np.array([len(each) for each in lists], dtype=np.uint16),
        links=np.concatenate(lists).astype(number_type),
    )


def _level_0_type(links: int, dimensions: int) -> np.dtype[Any]:
    parts: list[Any] = [("count", "<u4"), ("links", "<u4", links), ("vector", "<f4", dimensions), ("label", "<u8")]
    return np.dtype(parts)


def _words(level_0: NDArray[Any], links: int) -> Iterator[NDArray[np.uint32]]:
    """Yield length and links of each list at level 0."""
    yield from np.concatenate([level_0["count"][:, None], level_0["links"].reshape(-1, links)], axis=1)


def _sorted_links(count: int, links: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the links of a list, ascending: a search does not depend on their order, and they compress better."""
    return np.sort(links[: int(count)])


@contextlib.contextmanager
def _file_in_memory() -> Iterator[str]:
    """Yield the path of a file in memory."""
    descriptor = os.memfd_create("dejavu-index")
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
