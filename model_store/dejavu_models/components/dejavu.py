"""Dejavu: kernel regression over the past games most similar to a pattern.

Keeps one database per minute of the game, so patterns with different time remaining do not mix. The forecast averages
the linear models' residuals of the neighbours, so differences in strength or lead do not bias it.

Nadaraya–Watson regression (Nadaraya 1964; Watson 1964) over K nearest neighbours, with the distance to the K-th
neighbour as bandwidth: the bandwidth adapts to how common a pattern is. Large databases use a navigable small-world
graph (Malkov & Yashunin, Efficient and robust approximate nearest neighbor search using HNSW graphs, 2018; hnswlib).
An entry of a database is one past game, or a prototype that represents several.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats, Integers, Singles, from_npz, to_npz
from dejavu_models.components import features
from dejavu_models.components.courses import Courses
from dejavu_models.components.index import VectorIndex
from dejavu_models.components.shown_entries import records_of
from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MAX_SLOTS, SimilarGame

MAX_POINTS: Final = 1000
"""Bound of the increments, spreads and residuals of an entry, in points, far beyond any game: an unbounded entry that
dominates an answer would ruin a track record."""

_FIRST_DAY, _LAST_DAY = np.datetime64("1946-01-01"), np.datetime64("2200-12-31")
"""First and last possible date of an entry, as in a manifest."""


class Kernel(enum.Enum):
    """Kernel: the weight falls from 1 at distance 0 to 0 at the K-th neighbour; UNIFORM is constant."""

    UNIFORM = "uniform"
    EPANECHNIKOV = "epanechnikov"
    TRICUBE = "tricube"

    def weights(self, distances: Floats) -> Floats:
        """Return the weights of neighbours, nearest first: (n, k) → (n, k), each row with a positive sum."""
        if self is Kernel.UNIFORM:
            return np.ones_like(distances)
        bandwidth = distances[:, -1:]
        # If all neighbours are at the bandwidth, all kernel weights would be 0: weight them equally.
        tied = distances[:, :1] == bandwidth
        relative = distances / np.where(tied, 1.0, bandwidth)
        weights = 1 - relative**2 if self is Kernel.EPANECHNIKOV else (1 - relative**3) ** 3
        return np.where(tied, 1.0, weights)


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries of a minute's database, as columns of equal length m, in the order of the index.

    Attributes:
        home, away: NBA codes of the teams (of a prototype: of the game nearest to its mean).
        date: local date of the game (of a prototype: of the same nearest game), datetime64[D].
        games: number of games the entry represents, int32, at least 1.
        increments: (m, 2), mean increment to each horizon, in points; 0 for a horizon that has passed.
        spreads: (m, 2), standard deviation of the increments, in points; 0 for one game.
        residuals: (m, 2 margin sources, 2 horizons), mean residual of the linear models, in points.

    Raises:
        ValueError: if the columns are inconsistent or out of bounds.
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
            "home": (np.str_, ()),
            "away": (np.str_, ()),
            "date": (np.datetime64, ()),
            "games": (np.int32, ()),
            "increments": (np.float32, by_horizon),
            "spreads": (np.float32, by_horizon),
            "residuals": (np.float32, (len(MARGIN_SOURCES), *by_horizon)),
        }
        for name, (kind, shape) in kinds.items():
            column = getattr(self, name)
            right = column.dtype.isnative and issubclass(column.dtype.type, kind)
            if not right or column.shape != (count, *shape):
                raise ValueError(f"entries: column {name} is {column.dtype} of shape {column.shape}")
        if not count or (self.games < 1).any():
            raise ValueError("entries: there must be entries, and each must represent at least one game")
        if not ((self.date >= _FIRST_DAY) & (self.date <= _LAST_DAY)).all():  # NaT fails too
            raise ValueError(f"entries: each must have a date from {_FIRST_DAY} to {_LAST_DAY}")
        if not all((np.abs(column) <= MAX_POINTS).all() for column in (self.increments, self.spreads, self.residuals)):
            raise ValueError(f"entries: increments, spreads and residuals must be within ±{MAX_POINTS}")

    def __len__(self) -> int:
        return len(self.games)

    def rows(self, start: int, stop: int) -> Entries:
        """Return a slice of the entries."""
        return Entries(*(getattr(self, field.name)[start:stop] for field in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Entries]) -> Entries:
        """Concatenate parts; at least one."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def to_bytes(self) -> bytes:
        """Serialize to a .npz file; equal entries give equal bytes."""
        return to_npz(**{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Entries:
        """Deserialize the output of `to_bytes`.

        Raises:
            ValueError, KeyError: if the content is not valid output of `to_bytes`.
        """
        columns = from_npz(content)
        return cls(**{field.name: columns[field.name] for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class DejavuSettings:
    """Hyperparameters selected by the trainer.

    Attributes:
        recency: decay constant of the slot weights in the distance, in minutes: the weight falls by a factor e per
            `recency` minutes of age.
        neighbours: K, in entries.
        kernel: weight of a neighbour by distance.
    """

    recency: float
    neighbours: int
    kernel: Kernel


@dataclass(frozen=True, slots=True)
class NeighborResult:
    """Neighbours of n patterns, nearest first, and their forecast.

    Attributes:
        entries: (n, K), positions in the database.
        distances: (n, K), in points.
        residuals: (n, 2 margin sources, 2 horizons), correction to the linear models' increments, in points.
    """

    entries: Integers
    distances: Floats
    residuals: Floats


def kernel_regression(values: Floats | Singles, games: NDArray[np.int32], near: Neighbors, kernel: Kernel) -> Floats:
    """Compute means over the neighbours, weighted by the kernel and by the number of games of each entry.

    Args:
        values: (m, …), one value per entry of the database.
        games: (m,), number of games per entry.
        near: the neighbours of n patterns.
        kernel: weight of a neighbour by distance.

    Returns:
        (n, …).
    """
    weights: Floats = games[near.entries].astype(np.float64)
    if kernel is not Kernel.UNIFORM:
        weights *= kernel.weights(near.distances)
    weights /= np.add.reduce(weights, axis=1, keepdims=True)
    flat = values.reshape(len(values), -1)
    means = np.matmul(weights[:, None, :], flat[near.entries])[:, 0]
    result: Floats = means.reshape(-1, *values.shape[1:])
    return result


class Neighbors(NamedTuple):
    """Neighbours of n patterns, nearest first: positions in the database and distances in points, (n, k) each."""

    entries: Integers
    distances: Floats


class Dejavu:
    """Database of one minute: forecasts from the entries nearest to a pattern; thread-safe.

    Args:
        index: index over the pattern vectors of the entries, with their positions as labels.
        entries: entries of the database.
        settings: hyperparameters.
        courses: courses of the entries; None if they are not known.

    Attributes:
        records: (entries,), displayed data of each; see `shown_entries.records_of`.

    Raises:
        ValueError: if there are fewer entries than neighbours, index and entries differ in length, or a team code is
            not ASCII.
    """

    def __init__(
        self, index: VectorIndex, entries: Entries, settings: DejavuSettings, courses: Courses | None = None
    ) -> None:
        if not 1 <= settings.neighbours <= len(entries) == len(index):
            raise ValueError(f"{settings.neighbours} neighbours of {len(entries)} entries, {len(index)} indexed")
        self.index = index
        self.entries = entries
        self.settings = settings
        self.courses = courses
        self.records = records_of(
            entries.home, entries.away, entries.date, entries.games, entries.increments, entries.spreads
        )

    def course(self, game: SimilarGame, horizon: int) -> tuple[float, ...]:
        """Return the course of an entry of this database.

        Args:
            game: the entry, as in an explanation.
            horizon: index of the explained horizon in HORIZONS.

        Returns:
            Change since the database's minute, in points, at the end of each later minute before the horizon; empty if
            this database has no such entry, or no courses.
        """
        if self.courses is None:
            return ()
        entries = self.entries
        same = entries.increments[:, horizon] == game.increment
        same &= (entries.date == np.datetime64(game.date)) & (entries.games == game.games)
        rows = np.flatnonzero(same)
        # Texts take longest to compare, so only those of the few entries that agree in the numbers are.
        rows = rows[(entries.home[rows] == game.home_team) & (entries.away[rows] == game.away_team)]
        if not len(rows):
            return ()
        count = HORIZONS[horizon].last_slot - (MAX_SLOTS - self.courses.shape[1])
        course: list[float] = (self.courses[rows[0], :count] / 10.0).tolist()
        return tuple(course)

    def query(self, patterns: Floats) -> NeighborResult:
        """Return the neighbours of patterns and their forecast; each row's result is independent of the other rows.

        Args:
            patterns: (n, minutes), finite (the indexes do not check), in points.
        """
        near = self.nearest(patterns)
        residuals = kernel_regression(self.entries.residuals, self.entries.games, near, self.settings.kernel)
        return NeighborResult(*near, residuals)

    def nearest(self, patterns: Floats) -> Neighbors:
        """Return the neighbours of patterns.

        Args:
            patterns: (n, minutes), finite (the indexes do not check), in points.
        """
        vectors = features.pattern_vectors(patterns, self.settings.recency)
        entries, squares = self.index.nearest(vectors, self.settings.neighbours)
        return Neighbors(entries, np.sqrt(squares))

    def weights(self, minutes: int) -> Singles:
        """Return the weights of the anchored minutes in patterns with this number of minutes, (minutes,)."""
        return features.recency_weights(minutes, self.settings.recency).astype(np.float32)
