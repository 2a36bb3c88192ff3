"""Fits Dejavu: selects the query settings and builds one database per minute.

The settings (recency, K, kernel) are selected on the training games alone: trial databases are built from the earlier
games, like those of the bundle, and queried with the later ones.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from dejavu_feed.errors import DataError
from dejavu_models.arrays import Floats, Integers, Singles, to_tenths
from dejavu_models.components import features
from dejavu_models.components.dejavu import Dejavu, DejavuSettings, Entries, Kernel, Neighbors, kernel_regression
from dejavu_models.components.graph import vectors_of
from dejavu_models.manifest import MAX_NEIGHBOURS
from dejavu_models.types import HORIZONS, MAX_SLOTS, Horizon
from dejavu_trainer.data.games import Games
from dejavu_trainer.execution import HERE, Advance, Execution
from dejavu_trainer.training.index import build_index

MINUTES = tuple(Horizon.FINAL.forecast_minutes)

ROUNDS = 15
"""Maximum number of iterations of k-means; later ones hardly move the means."""

_NONE: Mapping[int, int] = MappingProxyType({})

_Recency = Annotated[float, Field(gt=0, le=1000)]
_Count = Annotated[int, Field(ge=2, le=MAX_NEIGHBOURS)]
_Minute = Annotated[int, Field(ge=1, le=MAX_SLOTS)]


@dataclass(frozen=True, slots=True)
class DejavuGrid:
    """Grid of candidates for `select_settings`.

    Attributes:
        recencies: recency settings, in minutes.
        neighbours: numbers of neighbours. A search in a graph takes time in proportion to this number, and more
            neighbours explain no more (docs/decisions/0055-similar-games.md).
        minutes: minutes of the game at which the candidates are evaluated.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    recencies: Annotated[tuple[_Recency, ...], Field(min_length=1)] = (3.0, 6.0, 12.0, 24.0)
    neighbours: Annotated[tuple[_Count, ...], Field(min_length=1)] = (25, 50)
    minutes: Annotated[tuple[_Minute, ...], Field(min_length=1)] = (6, 12, 18, 24, 30, 36, 42)

    @property
    def steps(self) -> int:
        """Number of steps that `select_settings` reports."""
        return len(self.recencies) * len(self.minutes)


@dataclass(frozen=True, slots=True)
class TrainingGames:
    """Games to build databases from.

    Attributes:
        games: n games.
        residuals: (n, 47, 2 margin sources, 2 horizons), residuals of the linear models, in points.
    """

    games: Games
    residuals: Floats

    def select(self, mask: NDArray[np.bool_]) -> TrainingGames:
        """Select games by a mask (n,)."""
        return TrainingGames(self.games.select(mask), self.residuals[mask])

    def patterns(self, minute: int) -> Floats:
        """Return the patterns after a minute, (n, minute), in points."""
        return self.games.levels[:, :minute]


@dataclass(frozen=True, slots=True)
class SelectedSettings:
    """Selected settings, and the share of the residuals of later games that their neighbours explain.

    Attributes:
        settings: the settings.
        scale: by horizon, in [0, 1]: factor of the neighbours' mean residual with the least squared error.
        gain: share of the linear models' squared error that the scaled mean explains.
    """

    settings: DejavuSettings
    scale: tuple[float, ...]
    gain: float


def select_settings(
    past: TrainingGames,
    later: TrainingGames,
    prototypes: int | None,
    grid: DejavuGrid,
    seed: int,
    advance: Advance,
    execution: Execution = HERE,
    prototypes_at: Mapping[int, int] = _NONE,
) -> SelectedSettings:
    """Select the settings with which databases of `past` best explain the linear models' residuals on `later`.

    The criterion is the share of the squared error explained by the neighbours' mean, in units of the spread at each
    minute, after optimal scaling by one factor per horizon; averaged over the horizons. The first candidate wins a tie.

    Args:
        past: the earlier training games.
        later: the later training games.
        prototypes: number of prototypes per minute to cluster `past` into; None for one entry per distinct course.
        grid: the candidates.
        seed: random seed of the databases.
        advance: called with 1 after each of grid.steps steps.
        execution: where the trial databases are evaluated; does not change the result.
        prototypes_at: number of prototypes of minutes that have their own.

    Raises:
        DataError: if a database would have fewer entries than the smallest number of neighbours.
    """
    entries = len(past.games) if prototypes is None else prototypes
    neighbour_counts = [neighbours for neighbours in grid.neighbours if neighbours <= entries]
    if not neighbour_counts:
        raise DataError(f"a database of {entries} entries is too small; expected {min(grid.neighbours)} or more")
    candidates = list(itertools.product(neighbour_counts, Kernel))

    trials = list(itertools.product(grid.recencies, grid.minutes))
    evaluate = partial(
        _trial, candidates=candidates, prototypes=prototypes, prototypes_at=dict(prototypes_at), seed=seed
    )
    products = execution.map(evaluate, trials, past, later, done=lambda *_: advance(1))
    by_trial = np.stack(products)
    # (recencies, minutes, candidates, 3, horizons) → (3, recencies, candidates, horizons)
    sums = by_trial.reshape(len(grid.recencies), len(grid.minutes), *by_trial.shape[1:]).sum(axis=1)
    cross, size, target = np.moveaxis(sums, 2, 0)
    gains = np.square(cross.clip(min=0)) / np.maximum(size * target, np.finfo(float).tiny)
    means = gains.mean(axis=-1)
    index, candidate = np.unravel_index(means.argmax(), means.shape)
    neighbours, kernel = candidates[candidate]
    scales = cross[index, candidate] / np.maximum(size[index, candidate], np.finfo(float).tiny)
    settings = DejavuSettings(grid.recencies[index], neighbours, kernel)
    return SelectedSettings(settings, tuple(scales.clip(0, 1).tolist()), float(means.max()))


def _trial(
    trial: tuple[float, int],
    past: TrainingGames,
    later: TrainingGames,
    *,
    candidates: Sequence[tuple[int, Kernel]],
    prototypes: int | None,
    prototypes_at: Mapping[int, int],
    seed: int,
) -> Floats:
    """Return `_error_products` of all candidates for one recency and minute, (candidates, 3, 2 horizons)."""
    recency, minute = trial
    widest = DejavuSettings(recency, max(neighbours for neighbours, _ in candidates), Kernel.UNIFORM)
    database = build(past, minute, widest, prototypes_at.get(minute, prototypes), seed)
    near, entries = database.nearest(later.patterns(minute)), database.entries
    results = []
    for neighbours, kernel in candidates:
        # A small database may return fewer neighbours.
        nearest = Neighbors(near.entries[:, :neighbours], near.distances[:, :neighbours])
        predicted = kernel_regression(entries.residuals, entries.games, nearest, kernel)
        results.append(_error_products(predicted, later.residuals[:, minute - 1], minute))
    return np.stack(results)


def _error_products(predicted: Floats, target: Floats, minute: int) -> Floats:
    """Return (3, 2 horizons): sums of predicted · target, predicted² and target², in units of the mean of target².

    They are 0 for a horizon that has passed.
    """
    sums = np.stack(
        [
            (left * right).sum(axis=(0, 1))
            for left, right in ((predicted, target), (predicted, predicted), (target, target))
        ]
    )
    for index, horizon in enumerate(HORIZONS):
        if minute > horizon.last_slot:
            sums[:, index] = 0
    result: Floats = sums * target.shape[0] * target.shape[1] / np.maximum(sums[2], np.finfo(float).tiny)
    return result


def build_all(
    past: TrainingGames,
    minutes: Sequence[int],
    choice: SelectedSettings,
    prototypes: int | None,
    seed: int,
    advance: Advance,
    execution: Execution = HERE,
    prototypes_at: Mapping[int, int] = _NONE,
) -> dict[int, Dejavu]:
    """Build the databases of some minutes with `build`; call `advance` with 1 after each.

    The residuals of their entries are scaled, so that their mean is the prediction with the least error.
    `prototypes_at` has the number of prototypes of some minutes; the others have `prototypes`.
    """
    scaled = TrainingGames(past.games, past.residuals * np.array(choice.scale))
    pieces = [(minute, prototypes_at.get(minute, prototypes)) for minute in minutes]
    build_one = partial(_database, settings=choice.settings, seed=seed)
    databases = execution.map(build_one, pieces, scaled, done=lambda *_: advance(1))
    return dict(zip(minutes, databases, strict=True))


def _database(piece: tuple[int, int | None], past: TrainingGames, *, settings: DejavuSettings, seed: int) -> Dejavu:
    minute, prototypes = piece
    return build(past, minute, settings, prototypes, seed)


def build(past: TrainingGames, minute: int, settings: DejavuSettings, prototypes: int | None, seed: int) -> Dejavu:
    """Build the database of a minute.

    Games with identical courses share an entry, since a graph index cannot leave a cluster of equal points. After a
    minute or two there are few distinct courses; if there are fewer entries than the requested neighbours, all entries
    are used. `prototypes` is the maximum number of entries; None for one per distinct course.
    """
    vectors = features.pattern_vectors(past.patterns(minute), settings.recency)
    courses = _courses(vectors)
    if prototypes is not None and courses.max() >= prototypes:
        courses = cluster(vectors, prototypes, seed)
    # Stored in tenths of a point, like the courses: a bundle is much smaller, and has exactly the indexed values.
    tenths = to_tenths(group_means(features.anchored(past.patterns(minute)), courses))
    weights = features.recency_weights(minute, settings.recency)
    entries = _entries_of(past, minute, courses, vectors, vectors_of(tenths, weights))
    query_settings = replace(settings, neighbours=min(settings.neighbours, len(entries)))
    later = past.games.levels[:, minute:] - past.games.levels[:, minute - 1 : minute]
    index = build_index(tenths, weights, query_settings.neighbours, seed)
    return Dejavu(index, entries, query_settings, to_tenths(group_means(later, courses)))


def cluster(vectors: Singles, count: int, seed: int) -> Integers:
    """Cluster vectors by k-means.

    Args:
        vectors: (n, dimensions).
        count: number of groups, 1 to n.
        seed: random seed of the initial means; the same vectors and seed give the same groups.

    Returns:
        (n,), the group of each vector. Groups are numbered from 0 without gaps; there may be fewer than `count`,
        especially if vectors coincide.

    Raises:
        ValueError: if `count` is out of range.
    """
    if not 1 <= count <= len(vectors):
        raise ValueError(f"{count} prototypes of {len(vectors)} games")
    from sklearn.cluster import KMeans  # imported late: it takes seconds to load
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # raised if vectors coincide
        groups = KMeans(count, max_iter=ROUNDS, random_state=seed).fit_predict(vectors.astype(np.float64))
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def group_means(values: Floats, groups: Integers) -> Floats:
    """Compute the means of values by group, for groups 0 … max without gaps: (n, …) → (groups, …)."""
    sums = np.zeros((groups.max() + 1, *values.shape[1:]))
    np.add.at(sums, groups, values)
    counts = np.bincount(groups)
    return sums / counts.reshape(-1, *([1] * (values.ndim - 1)))


def _courses(vectors: Singles) -> Integers:
    """Number distinct vectors in the order of their first occurrence: (n, dimensions) → (n,)."""
    _, first, groups = np.unique(vectors, axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[groups.reshape(-1)]


def _entries_of(past: TrainingGames, minute: int, groups: Integers, vectors: Singles, means: Singles) -> Entries:
    """Build one entry per group: mean and spread of the increments, named after the game nearest to the mean."""
    games = past.games
    increments = games.outcomes - games.levels[:, minute - 1 : minute]
    for index, horizon in enumerate(HORIZONS):
        if minute > horizon.last_slot:
            increments[:, index] = 0
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
