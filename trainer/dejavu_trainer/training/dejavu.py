"""Fits Dejavu: chooses how the databases are asked, and builds one for each minute.

What is chosen (recency, K, kernel) is chosen on the training games alone: the earlier of them make trial databases, of
the same kind as those that ship, and the later ones ask them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats, Integers, Singles
from dejavu_models.point import features
from dejavu_models.point.dejavu import Dejavu, DejavuSettings, Entries, Kernel, Neighbors, kernel_regression
from dejavu_models.point.index import build_index
from dejavu_models.types import HORIZONS, MAX_SLOTS
from dejavu_trainer.data.games import Games
from dejavu_trainer.data.split import SplitError
from dejavu_trainer.execution.threads import map_threads
from dejavu_trainer.training.kmeans import cluster, group_means

MINUTES = tuple(range(1, MAX_SLOTS + 1))

KERNELS = tuple(Kernel)


@dataclass(frozen=True, slots=True)
class DejavuGrid:
    """What `choose_settings` chooses from.

    Attributes:
        recencies: minutes.
        neighbours: numbers of entries.
        minutes: of the game, at which the candidates are tried.
    """

    recencies: tuple[float, ...] = (3.0, 6.0, 12.0, 24.0)
    neighbours: tuple[int, ...] = (25, 50, 100, 200, 400)
    minutes: tuple[int, ...] = (6, 12, 18, 24, 30, 36, 42)

    @property
    def steps(self) -> int:
        """Steps that `choose_settings` reports."""
        return len(self.recencies) * len(self.minutes)


@dataclass(frozen=True, slots=True)
class TrainingGames:
    """What databases are made of.

    Attributes:
        games: n of them.
        residuals: (n, 47, 2 modes, 2 horizons), what the linear models leave on them, in points.
    """

    games: Games
    residuals: Floats

    def select(self, mask: NDArray[np.bool_]) -> TrainingGames:
        """Those that a mask (n,) picks."""
        return TrainingGames(self.games.select(mask), self.residuals[mask])

    def patterns(self, minute: int) -> Floats:
        """(n, minute), as they stood after a minute, in points."""
        return self.games.levels[:, :minute]


@dataclass(frozen=True, slots=True)
class SelectedSettings:
    """The settings chosen, and the share of the linear models' squared error that they took away on later games."""

    settings: DejavuSettings
    gain: float


def choose_settings(
    past: TrainingGames,
    later: TrainingGames,
    prototypes: int | None,
    grid: DejavuGrid,
    seed: int,
    advance: Callable[[int], object],
    workers: int = 1,
) -> SelectedSettings:
    """The settings with which databases of `past` explain most of what the linear models leave on `later`.

    That is the share of the squared error that the neighbours' mean takes away, in units of the spread at each minute,
    once it is scaled by the factor that suits it best: one for each horizon. The mean over the horizons decides; the
    first of the candidates wins a tie.

    Args:
        past: the earlier games of the training part.
        later: its later games.
        prototypes: how many a minute to condense `past` into; None for an entry for every course.
        grid: the candidates.
        seed: of the databases.
        advance: called as grid.steps steps are done.
        workers: threads; they do not change the result.

    Raises:
        SplitError: if a database would have fewer entries than the least number of neighbours.
    """
    entries = len(past.games) if prototypes is None else prototypes
    asked = [neighbours for neighbours in grid.neighbours if neighbours <= entries]
    if not asked:
        raise SplitError(f"a database of {entries} entries is too small: at least {min(grid.neighbours)} are asked")
    candidates = list(itertools.product(asked, KERNELS))

    def products(trial: tuple[float, int]) -> Floats:
        recency, minute = trial
        widest = DejavuSettings(recency, max(asked), Kernel.UNIFORM)
        database = build(past, minute, widest, prototypes, seed)
        near, known = database.nearest(later.patterns(minute)), database.entries
        found = []
        for neighbours, kernel in candidates:
            # At most all that there are.
            nearest = Neighbors(near.entries[:, :neighbours], near.distances[:, :neighbours])
            said = kernel_regression(known.residuals, known.games, nearest, kernel)
            found.append(_products(said, later.residuals[:, minute - 1], minute))
        return np.stack(found)

    trials = list(itertools.product(grid.recencies, grid.minutes))
    by_trial = np.stack(map_threads(products, trials, workers, advance))
    # (recencies, minutes, candidates, 3, horizons) → (3, recencies, candidates, horizons)
    sums = by_trial.reshape(len(grid.recencies), len(grid.minutes), *by_trial.shape[1:]).sum(axis=1)
    together, size, left = np.moveaxis(sums, 2, 0)
    gains = np.square(together.clip(min=0)) / np.maximum(size * left, np.finfo(float).tiny)
    means = gains.mean(axis=-1)
    place, candidate = np.unravel_index(means.argmax(), means.shape)
    neighbours, kernel = candidates[candidate]
    return SelectedSettings(DejavuSettings(grid.recencies[place], neighbours, kernel), float(means.max()))


def _products(said: Floats, due: Floats, minute: int) -> Floats:
    """(3, 2 horizons): sums of said · due, said² and due², in units of the mean of due²; 0 for one that has passed."""
    sums = np.stack([(one * other).sum(axis=(0, 1)) for one, other in ((said, due), (said, said), (due, due))])
    for place, horizon in enumerate(HORIZONS):
        if minute > horizon.last_slot:
            sums[:, place] = 0
    result: Floats = sums * due.shape[0] * due.shape[1] / np.maximum(sums[2], np.finfo(float).tiny)
    return result


def build_all(
    past: TrainingGames,
    minutes: Sequence[int],
    settings: DejavuSettings,
    prototypes: int | None,
    seed: int,
    advance: Callable[[int], object],
    workers: int = 1,
) -> dict[int, Dejavu]:
    """Builds the databases of some minutes.

    Args:
        past: the games.
        minutes: of the game.
        settings: how they shall be asked.
        prototypes: how many a minute at most; None for an entry for every course.
        seed: of prototypes and indices.
        advance: called with 1 after each.
        workers: threads; they do not change the result.
    """
    built = map_threads(lambda minute: build(past, minute, settings, prototypes, seed), minutes, workers, advance)
    return dict(zip(minutes, built, strict=True))


def build(past: TrainingGames, minute: int, settings: DejavuSettings, prototypes: int | None, seed: int) -> Dejavu:
    """Builds a minute's database.

    Games that ran alike to the point share an entry: the index's graph does not lead out of a heap of equal points.
    After a minute or two, when games have taken few different courses, there may be fewer entries than neighbours are
    asked for; then all are.

    Args:
        past: the games.
        minute: of the game.
        settings: how it shall be asked.
        prototypes: how many entries at most; None for one for every course.
        seed: of prototypes and index.
    """
    vectors = features.pattern_vectors(past.patterns(minute), settings.recency)
    courses = _courses(vectors)
    if prototypes is not None and courses.max() >= prototypes:
        courses = cluster(vectors, prototypes, seed, lambda _: None)
    means = group_means(vectors.astype(np.float64), courses)
    entries = _entries_of(past, minute, courses, vectors, means)
    asked = replace(settings, neighbours=min(settings.neighbours, len(entries)))
    return Dejavu(build_index(means.astype(np.float32), seed), entries, asked)


def _courses(vectors: Singles) -> Integers:
    """Numbers equal vectors alike, in the order of their first occurrence: (n, dimensions) → (n,)."""
    _, first, groups = np.unique(vectors, axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[groups.reshape(-1)]


def _entries_of(past: TrainingGames, minute: int, groups: Integers, vectors: Singles, means: Floats) -> Entries:
    """One entry a group: what followed on average, and the game nearest to the group's mean to name it by."""
    games = past.games
    increments = games.outcomes - games.levels[:, minute - 1 : minute]
    for place, horizon in enumerate(HORIZONS):
        if minute > horizon.last_slot:
            increments[:, place] = 0
    mean = group_means(increments, groups)
    spreads = np.sqrt(group_means(np.square(increments - mean[groups]), groups))
    distances = np.square(vectors - means[groups]).sum(axis=1)
    # Sorted by group, then distance: the first of each group is its nearest. Ties go to the earlier game.
    order = np.lexsort((distances, groups))
    nearest = order[np.searchsorted(groups[order], np.arange(len(means)))]
    return Entries(
        home=games.home[nearest],
        away=games.away[nearest],
        date=games.date[nearest],
        games=np.bincount(groups).astype(np.int32),
        increments=mean.astype(np.float32),
        spreads=spreads.astype(np.float32),
        residuals=group_means(past.residuals[:, minute - 1], groups).astype(np.float32),
    )


def predict_all(
    databases: Mapping[int, Dejavu], games: Games, advance: Callable[[int], object], workers: int = 1
) -> Floats:
    """What the neighbours of games say should be added to the linear models, after every minute that has a database.

    Args:
        databases: by minute.
        games: n that ask.
        advance: called with 1 after each minute.
        workers: threads; they do not change the result.

    Returns:
        (n, 47, 2 modes, 2 horizons), in points; 0 where there is no database.
    """
    levels = games.levels
    said = np.zeros((len(games), MAX_SLOTS, 2, len(HORIZONS)))
    minutes = list(databases)
    found: Iterable[Floats] = map_threads(
        lambda minute: databases[minute].query(np.ascontiguousarray(levels[:, :minute])).residuals,
        minutes,
        workers,
        advance,
    )
    for minute, residuals in zip(minutes, found, strict=True):
        said[:, minute - 1] = residuals
    return said
