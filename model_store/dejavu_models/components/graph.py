"""Search graphs as arrays, the form in which bundles store them, and the nearest vectors by Euclidean distance.

The trainer builds a graph with hnswlib (Malkov & Yashunin, Efficient and robust approximate nearest neighbor search
using HNSW graphs, 2018); the compiled models search it, on fully checked arrays. hnswlib's own file reserves room for
absent links and 32 bits for each number, and its loader checks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Integers, Singles, check_array
from dejavu_models.errors import FitError
from dejavu_models.native import native

LEAST_BREADTH: Final = 64
"""Least size of the candidate list of a search (ef): with hundreds of neighbors, as many as asked for are enough."""

MAX_LINKS: Final = 64
"""Maximum number of links of a list; hnswlib's have up to 24."""

MAX_UPPER_LINKS: Final = 2
"""Maximum number of links above level 0, per vector; hnswlib's graphs have 0.6. A search may follow each of them."""

MAX_COORDINATE: Final = 1e6
"""Bound of the coordinates of vectors, so that all distances are finite."""


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Navigable small-world graph over m vectors, numbered from 0.

    Each vector has a list of links at level 0 and, if its level is above 0, one at each level up to its own.

    Attributes:
        vectors: (m, dimensions).
        entry: (1,), the vector at which a search begins; none has a higher level.
        levels: (m,) uint8.
        counts: lengths of the lists, unsigned: first those at level 0, then by vector and level.
        links: the lists in that order, unsigned: numbers of the vectors linked to, ascending.

    Raises:
        ValueError: if the arrays do not make up a graph.
    """

    vectors: Singles
    entry: NDArray[np.unsignedinteger[Any]]
    levels: NDArray[np.uint8]
    counts: NDArray[np.unsignedinteger[Any]]
    links: NDArray[np.unsignedinteger[Any]]

    def __post_init__(self) -> None:
        count = len(self.levels)
        sizes = {"entry": 1, "levels": count, "counts": len(self.counts), "links": len(self.links)}
        for name, size in sizes.items():
            check_array(f"graph: {name}", getattr(self, name), np.unsignedinteger, (size,))
        form, bounds = (count, self.vectors.shape[-1]), (-MAX_COORDINATE, MAX_COORDINATE)
        check_array("graph: vectors", self.vectors, np.float32, form, *bounds)
        self._check_lists()

    def _check_lists(self) -> None:
        """Check the links: a number out of range would make a search read anywhere in memory."""
        count = len(self.levels)
        if len(self.counts) != count + self.levels.sum(dtype=np.int64) or self.counts.sum() != len(self.links):
            raise ValueError("graph: levels, counts and links do not fit together")
        if self.counts.max(initial=0) > MAX_LINKS:
            raise ValueError(f"graph: a list has more than {MAX_LINKS} links")
        upper, most = self.counts[count:], MAX_UPPER_LINKS * count
        if len(upper) > most or upper.sum() > most:
            raise ValueError(f"graph: above level 0 there are more than {most} lists or links")
        if max(self.links.max(initial=0), int(self.entry[0])) >= count:
            raise ValueError(f"graph: a link leads past the {count} vectors")
        levels_of_lists = np.concatenate([np.zeros(count, dtype=np.int64), 1 + _within_runs(self.levels)])
        if (self.levels[self.links] < np.repeat(levels_of_lists, self.counts)).any():
            raise ValueError("graph: a link leads to a vector that is not at its level")
        if self.levels[self.entry[0]] != self.levels.max():
            raise ValueError("graph: the entry point is not at the highest level")

    def __len__(self) -> int:
        return len(self.levels)

    def is_connected(self) -> bool:
        """Return whether every vector can be reached from every other by links at level 0."""
        counts = self.counts[: len(self)].astype(np.int64)
        links = self.links[: int(counts.sum())]
        sources = np.repeat(np.arange(len(self)), counts)
        backwards = np.bincount(links, minlength=len(self)), sources[np.argsort(links, kind="stable")]
        entry = int(self.entry[0])
        return _reached(counts, links, entry) == _reached(*backwards, entry) == len(self)


def _within_runs(lengths: Integers | NDArray[np.uint8]) -> Integers:
    """Return 0, 1, … within each of consecutive runs: (sum of lengths,)."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def _reached(counts: Integers, links: NDArray[Any], start: int) -> int:
    """Return how many vectors can be reached from vector `start` by links, itself included.

    Args:
        counts: lengths of the lists of links, by vector.
        links: the lists, in that order.
        start: number of the vector.
    """
    begins = np.cumsum(counts) - counts
    reached = np.zeros(len(counts), dtype=np.bool_)
    reached[start] = True
    new = np.array([start])
    while len(new):  # each list is read once
        lengths = counts[new]
        targets = links[np.repeat(begins[new], lengths) + _within_runs(lengths)]
        found = np.sort(targets[~reached[targets]])
        # np.unique would open a module, and the process that reads a bundle may open no file.
        new = found[np.concatenate([[True], found[1:] != found[:-1]])] if len(found) else found
        reached[new] = True
    return int(reached.sum())


def search(graph: Graph, count: int) -> Any:
    """Return the search for `count` nearest neighbors in the compiled models, thread-safe.

    Its `nearest(vectors, count)`, of (n, dimensions) finite float32, returns numbers and squared distances, (n, count)
    each, nearest first.

    Args:
        graph: the graph of m vectors.
        count: number of neighbors, at most m.
    """
    return native.Graph(
        graph.vectors,
        entry=int(graph.entry[0]),
        levels=graph.levels,
        counts=graph.counts,
        links=graph.links,
        breadth=max(count, LEAST_BREADTH),
    )


LINKS = 12
"""Links of a vector (M): the recall of the groups of a forecast is above 0.99 (a test measures it)."""

CONSTRUCTION_BREADTH = 200

_LANES = 16
"""Number of dimensions that hnswlib compares at a time; vectors are padded with zeros to a multiple of it."""


def build_graph(vectors: Singles, seed: int) -> Graph:
    """Build the graph of vectors, (m, dimensions); the same arguments give the same graph.

    Raises:
        FitError: if a search does not reach every vector.
    """
    import hnswlib  # noqa: PLC0415 - servers have none

    padded = np.pad(vectors, ((0, 0), (0, -vectors.shape[1] % _LANES)))
    index = hnswlib.Index(space="l2", dim=padded.shape[1])
    index.init_index(max_elements=len(vectors), M=LINKS, ef_construction=CONSTRUCTION_BREADTH, random_seed=seed)
    # With several threads, the order of links would not be deterministic.
    index.add_items(padded, np.arange(len(vectors)), num_threads=1)
    [state] = index.__getstate__()
    # A list is its length and room for the most links, in 32 bits each; those at level 0 are followed by the vector.
    level_0 = state["data_level0"].reshape(len(vectors), -1)[:, : 4 * (1 + state["max_M0"])]
    upper = state["link_lists"].view(np.uint32).reshape(-1, 1 + state["max_M"])
    rows = (*np.ascontiguousarray(level_0).view(np.uint32), *upper)
    # Ascending: a search does not depend on the order of links, and they compress better.
    lists = [np.sort(row[1 : 1 + row[0]]) for row in rows]
    number_type = np.uint16 if len(vectors) <= 2**16 else np.uint32
    graph = Graph(
        vectors=vectors,
        entry=np.array([state["enterpoint_node"]], dtype=number_type),
        levels=state["element_levels"].astype(np.uint8),
        counts=np.array([len(each) for each in lists], dtype=np.uint16),
        links=np.concatenate(lists).astype(number_type),
    )
    if not graph.is_connected():
        raise FitError("the index of similar games has parts that a search does not reach; another --seed may do")
    return graph
