"""Dejavu: what happened after the past patterns nearest to this one.

One database a minute of the game, so that windows with different time to go do not mix. It answers with what the linear
models left on the neighbours, so that neighbours of other strength or with another lead do not mislead.

A kernel regression on nearest neighbours (Nadaraya 1964; Watson 1964) with the distance to the K-th neighbour as its
bandwidth, so that it adapts to how common a pattern is. Neighbours come from a navigable small-world graph (Malkov &
Yashunin, Efficient and robust approximate nearest neighbor search using HNSW graphs, 2018; hnswlib). An entry of the
database is one past game, or a prototype that stands for several.
"""

from __future__ import annotations

import enum
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats, Integers, Singles
from dejavu_models.point import features
from dejavu_models.point.index import VectorIndex
from dejavu_models.types import HORIZONS, MARGIN_SOURCES


class Kernel(enum.Enum):
    """How a neighbour's weight falls with distance: from 1 to 0 at the K-th neighbour, or, if uniform, not at all."""

    UNIFORM = "uniform"
    EPANECHNIKOV = "epanechnikov"
    TRICUBE = "tricube"

    def weights(self, distances: Floats) -> Floats:
        """Weights of neighbours, nearest first: (n, k) → (n, k), each row with a positive sum."""
        if self is Kernel.UNIFORM:
            return np.ones_like(distances)
        bandwidth = distances[:, -1:]
        # Where all neighbours are as far as the last, a kernel that ends there would weigh nothing: they count alike.
        tied = distances[:, :1] == bandwidth
        relative = distances / np.where(tied, 1.0, bandwidth)
        weights = 1 - relative**2 if self is Kernel.EPANECHNIKOV else (1 - relative**3) ** 3
        return np.where(tied, 1.0, weights)


@dataclass(frozen=True, slots=True)
class Entries:
    """What is known of each entry of a minute's database, in columns of one length m, in the index's order.

    Attributes:
        home, away: NBA codes of the teams (of a prototype: of the game nearest to its mean).
        date: local date of that game, datetime64[D].
        games: how many games the entry stands for, int32, at least 1.
        increments: (m, 2), the mean increment that followed, by horizon, in points; 0 for one that has passed.
        spreads: (m, 2), the standard deviation of the increments that followed, in points; 0 for one game.
        residuals: (m, 2 modes, 2 horizons), the mean of what the linear models left, in points.

    Raises:
        ValueError: if the columns do not fit together.
    """

    home: NDArray[np.str_]
    away: NDArray[np.str_]
    date: NDArray[np.datetime64]
    games: NDArray[np.int32]
    increments: Singles
    spreads: Singles
    residuals: Singles

    def __post_init__(self) -> None:
        count, by_horizon = len(self.games), (len(HORIZONS),)
        kinds = {
            "home": ("U", ()),
            "away": ("U", ()),
            "date": ("M", ()),
            "games": ("i", ()),
            "increments": ("f", by_horizon),
            "spreads": ("f", by_horizon),
            "residuals": ("f", (len(MARGIN_SOURCES), *by_horizon)),
        }
        for name, (kind, shape) in kinds.items():
            column = getattr(self, name)
            if column.dtype.kind != kind or column.shape != (count, *shape):
                raise ValueError(f"entries: column {name} is {column.dtype} of shape {column.shape}")
        if not count or (self.games < 1).any():
            raise ValueError("entries: every entry must stand for at least one game, and there must be one")
        if not all(np.isfinite(column).all() for column in (self.increments, self.spreads, self.residuals)):
            raise ValueError("entries: increments, spreads and residuals must be finite")

    def __len__(self) -> int:
        return len(self.games)

    def rows(self, start: int, stop: int) -> Entries:
        """A part of the entries."""
        return Entries(*(getattr(self, field.name)[start:stop] for field in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Entries]) -> Entries:
        """Several parts in a row; at least one."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def to_bytes(self) -> bytes:
        """As a .npz file; the same entries give the same bytes."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, allow_pickle=False, **{field.name: getattr(self, field.name) for field in fields(self)}
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Entries:
        """Back from `to_bytes`.

        Raises:
            ValueError, KeyError, OSError, zipfile.BadZipFile: if it is not what `to_bytes` writes.
        """
        with np.load(io.BytesIO(content), allow_pickle=False) as columns:
            return cls(**{field.name: columns[field.name] for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class DejavuSettings:
    """What the trainer chose.

    Attributes:
        recency: minutes by which a slot's weight in the distance falls by a factor e.
        neighbours: K, in entries.
        kernel: how their weights fall with distance.
    """

    recency: float
    neighbours: int
    kernel: Kernel


@dataclass(frozen=True, slots=True)
class NeighborResult:
    """The neighbours of n patterns, nearest first, and what they forecast.

    Attributes:
        entries: (n, K), positions in the database.
        distances: (n, K), in points.
        residuals: (n, 2 modes, 2 horizons), what should be added to the linear models' increments, in points.
    """

    entries: Integers
    distances: Floats
    residuals: Floats


def kernel_regression(values: Floats | Singles, games: NDArray[np.int32], near: Neighbors, kernel: Kernel) -> Floats:
    """Means of values of the neighbours, weighted by the kernel and by how many games an entry stands for.

    Args:
        values: (m, …), of each entry of the database.
        games: (m,), how many games each entry stands for.
        near: the neighbours of n patterns.
        kernel: how weights fall with distance.

    Returns:
        (n, …).
    """
    weights = kernel.weights(near.distances)
    weights *= games[near.entries]
    weights /= weights.sum(axis=1, keepdims=True)
    flat = values.reshape(len(values), -1)
    means = np.matmul(weights[:, None, :], flat[near.entries])[:, 0]
    result: Floats = means.reshape(-1, *values.shape[1:])
    return result


class Neighbors(NamedTuple):
    """Neighbours of n patterns, nearest first: positions in the database and distances in points, (n, k) each."""

    entries: Integers
    distances: Floats


class Dejavu:
    """A minute's database: forecasts from the entries nearest to a pattern; safe to call from several threads.

    Args:
        index: over the entries' course vectors, with their positions as labels.

    Raises:
        ValueError: if there are fewer entries than neighbours are asked for.
    """

    def __init__(self, index: VectorIndex, entries: Entries, settings: DejavuSettings) -> None:
        if not 1 <= settings.neighbours <= len(entries) == len(index):
            raise ValueError(f"{settings.neighbours} neighbours of {len(entries)} entries, {len(index)} indexed")
        self._index = index
        self.entries = entries
        self.settings = settings

    def query(self, patterns: Floats) -> NeighborResult:
        """The neighbours of patterns and what they forecast; a row's result does not depend on its companions.

        Args:
            patterns: (n, minutes), finite (hnswlib does not check), in points.
        """
        near = self.nearest(patterns)
        residuals = kernel_regression(self.entries.residuals, self.entries.games, near, self.settings.kernel)
        return NeighborResult(*near, residuals)

    def nearest(self, patterns: Floats) -> Neighbors:
        """The neighbours of patterns.

        Args:
            patterns: (n, minutes), finite (hnswlib does not check), in points.
        """
        vectors = features.pattern_vectors(patterns, self.settings.recency)
        entries, squares = self._index.nearest(vectors, self.settings.neighbours)
        return Neighbors(entries, np.sqrt(squares))

    def index_bytes(self) -> bytes:
        """The index as a file."""
        return self._index.to_bytes()
