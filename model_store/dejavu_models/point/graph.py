"""Search graphs as arrays, the form in which bundles store them.

hnswlib's own file reserves room for absent links and 32 bits for each number; as arrays, a graph takes a fifth of its
size.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats, Integers, Singles, Tenths, from_npz, to_npz


def vectors_of(tenths: Tenths, weights: Floats) -> Singles:
    """Return the vectors that an index compares: differences, (m, dimensions), times the weights (dimensions,)."""
    return np.multiply(tenths, weights / 10.0, dtype=np.float64).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Navigable small-world graph over m vectors, numbered from 0.

    Each vector has a list of links at level 0 and, if its level is above 0, one at each level up to its own.

    Attributes:
        tenths: (m, dimensions), differences that the vectors are made of, see `vectors_of`.
        weights: (dimensions,), their weights.
        entry: (1,), the vector at which a search begins; none has a higher level.
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
        # A number out of range would make a search read anywhere in memory.
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
        """Serialize to a .npz file; equal graphs give equal bytes."""
        return to_npz(**{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Graph:
        """Deserialize the output of `to_bytes`.

        Raises:
            ValueError, KeyError: if the content is invalid.
        """
        columns = from_npz(content)
        return cls(**{field.name: columns[field.name] for field in fields(cls)})

    def is_connected(self) -> bool:
        """Return whether every vector can be reached from every other by links at level 0."""
        sources = np.repeat(np.arange(len(self)), self.counts[: len(self)])
        targets = self.links[: len(sources)].astype(np.int64)
        return all(
            _reached(start, end, int(self.entry[0]), len(self)) == len(self)
            for start, end in ((sources, targets), (targets, sources))
        )

    def _owners_and_levels(self) -> tuple[Integers, Integers]:
        """Return the vector and the level of each list above level 0, in their order."""
        levels = self.levels.astype(np.int64)
        owners = np.repeat(np.arange(len(levels)), levels)
        return owners, 1 + _within_runs(levels)


def _within_runs(lengths: Integers) -> Integers:
    """Return 0, 1, … within each of consecutive runs: (sum of lengths,)."""
    ends = np.cumsum(lengths)
    return np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths)


def _reached(sources: Integers, targets: Integers, start: int, count: int) -> int:
    """Return how many of `count` vectors can be reached from vector `start` by links, itself included."""
    reached = np.zeros(count, dtype=np.bool_)
    reached[start] = True
    known = 0
    while (found := int(reached.sum())) > known:
        known = found
        reached[targets[reached[sources]]] = True
    return known
