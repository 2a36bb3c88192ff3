"""Search graphs of hnswlib as arrays: how bundles store them, and how those of many minutes become one index.

An index of hnswlib allocates 65,536 locks for writers, 2.5 MiB, however few vectors it has and although nothing is
written (`label_op_locks_` in hnswalg.h of 0.8.0; they are zeroed and thus resident). A worker with an index for each of
47 minutes would pay for 118 MiB of them. So the graphs of all minutes are put into one index side by side, without a
link from one to another. A search must begin in the right one: one dimension of the vectors has a value of its own for
each graph, and above all levels there is one more, on which the first entry point has links to those of the other
graphs. hnswlib's descent then picks the entry point of the query's graph, which is by far the nearest.

hnswlib reads and writes only its own file format, which is documented by HierarchicalNSW::loadIndex alone. It contains
room for links that are not there, and 32 bits for each number: as arrays a graph takes a fifth of that.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats, Integers, Singles, Tenths, from_npz, to_npz

GRAPH_DISTANCE = 65_536.0
"""Distance between the graphs of an index, in points; far above any distance between vectors of one of them."""

_LANES = 16
"""Vectors are padded to a multiple of this, the number of dimensions that hnswlib compares at a time."""

_LABEL_BYTES = 8

_HEADER = struct.Struct("=6QiI3QdQ")


class _Header(NamedTuple):
    """Head of hnswlib's file, in its order."""

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


def vectors_of(tenths: Tenths, weights: Floats) -> Singles:
    """Returns the vectors that an index compares: differences, (m, dimensions), times the weights (dimensions,)."""
    return np.multiply(tenths, weights / 10.0, dtype=np.float64).astype(np.float32)


def padded_dimensions(dimensions: int) -> int:
    """Returns the dimensions of the index for vectors of some dimensions, with the one that parts its graphs."""
    return -(-(dimensions + 1) // _LANES) * _LANES


def padded(vectors: Singles, dimensions: int, position: int) -> Singles:
    """Returns vectors (n, d) as the index of a graph compares them: (n, dimensions).

    Args:
        vectors: d < dimensions.
        dimensions: `padded_dimensions`.
        position: number of the graph in its index.
    """
    result = np.zeros((len(vectors), dimensions), dtype=np.float32)
    result[:, : vectors.shape[1]] = vectors
    result[:, -1] = position * GRAPH_DISTANCE
    return result


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Navigable small-world graph over m vectors, numbered from 0.

    Each vector has a list of links at level 0 and, if its level is above 0, one at each level up to its own.

    Attributes:
        tenths: (m, dimensions), differences that the vectors are made of, see `vectors_of`.
        weights: (dimensions,), their weights.
        entry: (1,), the vector at which a search begins; no other has a higher level.
        levels: (m,) uint8.
        counts: lengths of the lists, unsigned: first those at level 0, then by vector and level.
        links: the lists in that order, unsigned: numbers of the vectors linked to, ascending.

    Raises:
        ValueError: if the arrays do not make up a graph.
    """

    tenths: Tenths
    weights: Floats
    entry: NDArray[np.unsignedinteger[Any]]
    levels: NDArray[np.uint8]
    counts: NDArray[np.unsignedinteger[Any]]
    links: NDArray[np.unsignedinteger[Any]]

    def __post_init__(self) -> None:
        count = len(self.levels)
        kinds = {"entry": (1,), "levels": (count,), "counts": (None,), "links": (None,)}
        for name, shape in kinds.items():
            column = getattr(self, name)
            if column.dtype.kind != "u" or column.ndim != 1 or shape[0] not in (None, len(column)):
                raise ValueError(f"graph: {name} are {column.dtype} of shape {column.shape}")
        if self.tenths.dtype != np.int16 or self.tenths.ndim != 2 or len(self.tenths) != count:
            raise ValueError(f"graph: tenths are {self.tenths.dtype} of shape {self.tenths.shape}")
        if self.weights.dtype != np.float64 or self.weights.shape != self.tenths.shape[1:]:
            raise ValueError(f"graph: weights are {self.weights.dtype} of shape {self.weights.shape}")
        if not np.isfinite(self.weights).all():
            raise ValueError("graph: weights must be finite")
        # hnswlib trusts its file: a number out of range would make it read anywhere in memory.
        if len(self.counts) != count + self.levels.sum(dtype=np.int64) or self.counts.sum() != len(self.links):
            raise ValueError("graph: levels, counts and links do not fit together")
        if max(self.links.max(initial=0), int(self.entry[0])) >= count:
            raise ValueError(f"graph: a link leads past the {count} vectors")
        levels_of_lists = np.concatenate([np.zeros(count, dtype=np.int64), self._owners_and_levels()[1]])
        if (self.levels[self.links] < np.repeat(levels_of_lists, self.counts)).any():
            raise ValueError("graph: a link leads to a vector that is not at its level")
        if self.levels[self.entry[0]] != self.levels.max():
            raise ValueError("graph: the entry point is not at the highest level")

    def __len__(self) -> int:
        return len(self.levels)

    @property
    def dimensions(self) -> int:
        """Number of dimensions of the vectors."""
        return int(self.tenths.shape[1])

    def to_bytes(self) -> bytes:
        """Serializes to a .npz file; equal graphs give equal bytes."""
        return to_npz(**{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Graph:
        """Deserializes the output of `to_bytes`.

        Raises:
            ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile: if the content is invalid.
        """
        columns = from_npz(content)
        return cls(**{field.name: columns[field.name] for field in fields(cls)})

    @classmethod
    def from_hnswlib(cls, content: bytes, tenths: Tenths, weights: Floats) -> Graph:
        """Reads the graph from a file of hnswlib whose labels are the vectors' numbers, ascending.

        Args:
            content: the file.
            tenths: what its vectors were made of.
            weights: by which they were weighted.
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
        return cls(
            tenths=tenths,
            weights=weights,
            entry=np.array([header.entry], dtype=number_type),
            levels=levels,
            counts=np.array([len(each) for each in lists], dtype=np.uint16),
            links=np.concatenate(lists).astype(number_type),
        )

    def is_connected(self) -> bool:
        """Whether every vector can be reached from every other by links at level 0."""
        sources = np.repeat(np.arange(len(self)), self.counts[: len(self)])
        targets = self.links[: len(sources)].astype(np.int64)
        return all(
            _reached(start, end, int(self.entry[0]), len(self)) == len(self)
            for start, end in ((sources, targets), (targets, sources))
        )

    def _owners_and_levels(self) -> tuple[Integers, Integers]:
        """Returns the vector and the level of each list above level 0, in their order."""
        levels = self.levels.astype(np.int64)
        owners = np.repeat(np.arange(len(levels)), levels)
        return owners, 1 + _within_runs(levels)

    def _level_0(self, dimensions: int, position: int, base: int, most: int) -> bytes:
        count = len(self)
        rows = np.zeros(count, dtype=_level_0_type(most, dimensions))
        rows["count"] = counts = self.counts[:count].astype(np.uint32)
        links = np.zeros((count, most), dtype=np.uint32)
        links[np.arange(most) < counts[:, None]] = self.links[: counts.sum()].astype(np.uint32) + base
        rows["links"] = links
        rows["vector"] = padded(vectors_of(self.tenths, self.weights), dimensions, position)
        # Labels are numbers within the graph. hnswlib looks vectors up by them only when it writes.
        rows["label"] = np.arange(count)
        return rows.tobytes()

    def _upper_levels(self, base: int, most: int, top: int, entries: Sequence[int]) -> bytes:
        """Returns the lists above level 0, in hnswlib's format.

        Args:
            base: number of the graph's first vector in the index.
            most: room for links of a list.
            top: level of the entry point; its lists above its own level are empty.
            entries: links of the entry point at that level.
        """
        levels, entry = self.levels.astype(np.int64), int(self.entry[0])
        owners, of_lists = self._owners_and_levels()
        levels[entry] = top
        sizes = levels * (1 + most)
        starts = np.cumsum(1 + sizes) - sizes - 1
        words = np.zeros(int((1 + sizes).sum()), dtype="<u4")
        words[starts] = 4 * sizes
        counts = self.counts[len(self) :].astype(np.int64)
        places = starts[owners] + 1 + (of_lists - 1) * (1 + most)
        words[places] = counts
        links = self.links[len(self.links) - counts.sum() :].astype(np.uint32)
        words[np.repeat(places + 1, counts) + _within_runs(counts)] = links + base
        if entries:
            place = starts[entry] + 1 + (top - 1) * (1 + most)
            words[place] = len(entries)
            words[place + 1 : place + 1 + len(entries)] = entries
        return words.tobytes()


def write_hnswlib(graphs: Sequence[Graph], dimensions: int, file: BinaryIO) -> None:
    """Writes graphs side by side in hnswlib's file format.

    The label of a vector is its number within its graph. A search finds vectors of the graph whose `position` the query
    was padded with, and of no other.

    Args:
        graphs: at least one.
        dimensions: the `padded_dimensions` of all of them.
        file: receives the content.
    """
    bases = [0, *itertools.accumulate(map(len, graphs))]
    entries = [base + int(graph.entry[0]) for base, graph in zip(bases, graphs, strict=False)]
    level_0_links = max(int(graph.counts[: len(graph)].max()) for graph in graphs)
    upper_links = max(len(graphs) - 1, *(int(graph.counts[len(graph) :].max(initial=1)) for graph in graphs))
    top = max(int(graph.levels.max()) for graph in graphs) + (len(graphs) > 1)
    level_0 = _level_0_type(level_0_links, dimensions)
    header = _Header(
        level_0_offset=0,
        capacity=bases[-1],
        vectors=bases[-1],
        bytes_a_vector=level_0.itemsize,
        label_offset=level_0.itemsize - _LABEL_BYTES,
        vector_offset=level_0.itemsize - _LABEL_BYTES - 4 * dimensions,
        top_level=top,
        entry=entries[0],
        upper_links=upper_links,
        level_0_links=level_0_links,
        links=upper_links,  # this and what follows matter only to who adds vectors
        level_factor=1.0,
        construction_breadth=level_0_links,
    )
    file.write(_HEADER.pack(*header))
    placed = list(zip(graphs, bases, strict=False))
    file.writelines(
        graph._level_0(dimensions, place, base, level_0_links) for place, (graph, base) in enumerate(placed)
    )
    # Only the first graph's entry point, where every search begins, leads to the others.
    links = [entries[1:], *([] for _ in graphs[1:])]
    file.writelines(
        graph._upper_levels(base, upper_links, top, others) for (graph, base), others in zip(placed, links, strict=True)
    )


def _level_0_type(links: int, dimensions: int) -> np.dtype[Any]:
    parts: list[Any] = [("count", "<u4"), ("links", "<u4", links), ("vector", "<f4", dimensions), ("label", "<u8")]
    return np.dtype(parts)


def _words(level_0: NDArray[Any], links: int) -> Iterator[NDArray[np.uint32]]:
    """Yields length and links of each list at level 0."""
    yield from np.concatenate([level_0["count"][:, None], level_0["links"].reshape(-1, links)], axis=1)


def _sorted_links(count: int, links: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Returns the links of a list, ascending: their order means nothing to a search, and they compress better."""
    return np.sort(links[: int(count)])


def _within_runs(lengths: Integers) -> Integers:
    """Returns 0, 1, … within each of consecutive runs: (sum of lengths,)."""
    ends = np.cumsum(lengths)
    return np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths)


def _reached(sources: Integers, targets: Integers, start: int, count: int) -> int:
    """Returns how many of `count` vectors can be reached from one, itself included, by links."""
    reached = np.zeros(count, dtype=np.bool_)
    reached[start] = True
    known = 0
    while (found := int(reached.sum())) > known:
        known = found
        reached[targets[reached[sources]]] = True
    return known
