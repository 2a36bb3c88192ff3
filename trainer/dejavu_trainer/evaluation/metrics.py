"""Figures of many games: errors, scores and coverages by group, each with the interval that chance leaves it.

A figure is a mean over the forecasts of a group, each game's forecasts at several minutes counting alike; one game is
the unit of its uncertainty, since what happens in a game decides about all its minutes. Intervals are 95 % percentile
bootstrap intervals over games, and differences are paired: of the same resampled games.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models import metrics
from dejavu_models.arrays import Floats
from dejavu_models.metrics import ECE_BINS, Estimate, GameBootstrap
from dejavu_models.types import HORIZONS, Horizon
from dejavu_models.uncertainty.conformal import lead_groups
from dejavu_trainer.evaluation.fold_scores import ALPHAS, CASES, FORECASTERS, FoldScores, Forecasts

LEADS: Final = ("0-3", "4-8", "9-15", "16+")
"""Groups by |lead| at the minute of the forecast, in points, both ends included."""

PHASES: Final = ("first third", "second third", "last third", "playoffs")
"""Of a season: its regular games in the order of their dates, and play-in and playoffs."""

QUARTERS: Final = ("first quarter", "second quarter", "third quarter", "fourth quarter")
"""By the minute of the forecast: 1–12, 13–24, 25–36, 37–47."""

REFERENCES: Final = ("persistence", "linear", "logistic")
"""What differences are taken from."""

LEVELS: Final = tuple(round(100 * (1 - alpha)) for alpha in ALPHAS)
"""Nominal coverages, in %."""

POINTS: Final = ("mae", "rmse", "crps", *(f"winkler_{level}" for level in LEVELS))
PROBABILITIES: Final = ("brier", "log_loss")
SCORES: Final = (*POINTS, *PROBABILITIES)
"""Negatively oriented: of these there are differences."""
RATES: Final = (*(f"coverage_{level}" for level in LEVELS), *(f"width_{level}" for level in LEVELS), "ece")
METRICS: Final = (*SCORES, *RATES)

MINUTE_AND_LEAD: Final = "minute and lead"
SMALL_FORECASTERS: Final = ("ensemble", *REFERENCES)
SMALL_METRICS: Final = ("mae", "crps", "brier", *(f"coverage_{level}" for level in LEVELS))
"""What is measured in each of the many small groups by minute and lead."""

CALIBRATION_KINDS: Final = ("all", "season", "quarter", "phase", "lead")
"""Kinds of groups that are large enough for a calibration error to be more than chance."""

_BATCH = 48
"""Groups that are resampled at once, to bound the memory."""


@dataclass(frozen=True, slots=True)
class GroupMetrics:
    """The figures of some forecasts.

    Attributes:
        games, cases: how many games and forecasts of each forecaster they come from.
        values: by forecaster and metric. A metric is missing where a forecaster has none, or the calibration is too
            small for the interval.
        differences: by forecaster, reference and score: its mean less the reference's, on the same games; below 0 is
            better.
        relative: the same as a share of the reference's mean; missing where the reference may be without error.
    """

    games: int
    cases: int
    values: dict[str, dict[str, Estimate]]
    differences: dict[str, dict[str, dict[str, Estimate]]]
    relative: dict[str, dict[str, dict[str, Estimate]]]


MetricsByForecaster = dict[str, dict[str, dict[str, GroupMetrics]]]
"""By horizon's name, kind of group (all, season, season at minute 18, quarter, phase, lead,
minute, minute and lead) and group's name."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Forecasts that are looked at together: `which` (n, minutes) of the minutes from `first` (0 is minute 1) on."""

    kind: str
    name: str
    which: NDArray[np.bool_]
    first: int = 0

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Of values (n, minutes of the horizon), the columns that `which` speaks of."""
        return values[:, self.first : self.first + self.which.shape[1]]


def pool(folds: Sequence[FoldScores]) -> FoldScores:
    """The games of several folds as those of one; what only a fold has is taken from the first.

    Raises:
        ValueError: if there is none.
    """
    if not folds:
        raise ValueError("no fold to take figures from")
    first = folds[0]
    joined = {
        field.name: np.concatenate([getattr(fold, field.name) for fold in folds])
        for field in fields(FoldScores)
        if isinstance(getattr(first, field.name), np.ndarray) and field.name != "cell_games"
    }
    forecasts = {
        name: Forecasts(
            **{
                field.name: np.concatenate([getattr(fold.forecasts[name], field.name) for fold in folds])
                for field in fields(Forecasts)
                if getattr(first.forecasts[name], field.name) is not None
            }
        )
        for name in first.forecasts
    }
    rest = {field.name: getattr(first, field.name) for field in fields(FoldScores) if field.name not in joined}
    return FoldScores(**{**rest, **joined, "forecasts": forecasts})


def cases_of(horizon: Horizon) -> slice:
    """Where a horizon's stages lie on axes over stages: its first minute first."""
    places = [index for index, (place, _) in enumerate(CASES) if HORIZONS[place] is horizon]
    return slice(places[0], places[-1] + 1)


def losses(forecasts: Forecasts, outcomes: NDArray[np.integer], stages: slice) -> dict[str, Floats]:
    """What each metric is the mean of (rmse: the root of the mean), but for ece, for each forecast: (n, stages).

    Args:
        forecasts: of one forecaster.
        outcomes: (n,), differentials at the horizon, in points.
        stages: those of the horizon.
    """
    came = outcomes[:, None].astype(np.float64)
    probability = forecasts.probability[:, stages].astype(np.float64)
    result = {
        "brier": metrics.brier(probability, came > 0),
        "log_loss": metrics.log_loss(probability, came > 0),
    }
    if forecasts.point is not None and forecasts.crps is not None:
        point = forecasts.point[:, stages]
        result["mae"] = metrics.absolute_error(point, came)
        result["rmse"] = metrics.squared_error(point, came)
        result["crps"] = forecasts.crps[:, stages].astype(np.float64)
    if forecasts.lower is not None and forecasts.upper is not None:
        for index, (alpha, level) in enumerate(zip(ALPHAS, LEVELS, strict=True)):
            lower, upper = (ends[:, stages, index].astype(np.float64) for ends in (forecasts.lower, forecasts.upper))
            if np.isfinite(lower).all():
                result[f"winkler_{level}"] = metrics.winkler(lower, upper, came, alpha)
                result[f"coverage_{level}"] = metrics.covered(lower, upper, came).astype(np.float64)
                result[f"width_{level}"] = upper - lower
    return result


def compute_metrics(
    folds: Sequence[FoldScores],
    *,
    seed: int = 0,
    resamples: int = 2000,
    advance: Callable[[int], object] | None = None,
) -> MetricsByForecaster:
    """All figures of the games of some folds.

    Args:
        folds: at least one.
        seed: of the bootstrap over games.
        resamples: of the bootstrap.
        advance: called with 1 after each horizon.
    """
    pooled = pool(folds)
    bootstrap = GameBootstrap(len(pooled), seed=seed, resamples=resamples)
    result: MetricsByForecaster = {}
    for place, horizon in enumerate(HORIZONS):
        groups = [group for group in _groups(pooled, horizon) if group.which.any()]
        by_kind: dict[str, dict[str, GroupMetrics]] = {}
        for batch in _batches(groups):
            for group, found in zip(batch, _measure(pooled, place, batch, bootstrap), strict=True):
                by_kind.setdefault(group.kind, {})[group.name] = found
        result[horizon.value] = by_kind
        if advance is not None:
            advance(1)
    return result


def phases(found: FoldScores) -> NDArray[np.int64]:
    """Which of PHASES each game is of."""
    result = np.full(len(found), len(PHASES) - 1, dtype=np.int64)
    for season in np.unique(found.season):
        regular = np.flatnonzero((found.season == season) & (found.phase == "RS"))
        ordered = regular[np.argsort(found.date[regular], kind="stable")]
        result[ordered] = np.arange(len(ordered)) * 3 // max(len(ordered), 1)
    return result


def _groups(found: FoldScores, horizon: Horizon) -> Iterator[_Group]:
    minutes = range(horizon.last_slot)
    games, shape = np.ones((len(found), 1), dtype=np.bool_), (len(found), len(minutes))
    seasons = [(str(season), (found.season == season)[:, None]) for season in np.unique(found.season)]
    lead, phase = lead_groups(found.leads[:, : len(minutes)]), phases(found)
    yield _Group("all", "all", np.broadcast_to(games, shape))
    for name, of_season in seasons:
        yield _Group("season", name, np.broadcast_to(of_season, shape))
    for number, name in enumerate(QUARTERS):
        of_quarter = range(12 * number, min(12 * number + 12, len(minutes)))
        if of_quarter:
            yield _Group("quarter", name, np.broadcast_to(games, (len(found), len(of_quarter))), of_quarter[0])
    for number, name in enumerate(PHASES):
        yield _Group("phase", name, np.broadcast_to((phase == number)[:, None], shape))
    for number, name in enumerate(LEADS):
        yield _Group("lead", name, lead == number)
    for minute in minutes:
        yield _Group("minute", f"{minute + 1}", games, minute)
    for name, of_season in seasons:
        yield _Group("season at minute 18", name, of_season, 17)
    for minute in minutes:
        for number, name in enumerate(LEADS):
            yield _Group(MINUTE_AND_LEAD, f"{minute + 1} {name}", lead[:, [minute]] == number, minute)


def _batches(groups: Sequence[_Group]) -> Iterator[Sequence[_Group]]:
    """At most _BATCH groups of one kind at a time."""
    for _, found in itertools.groupby(groups, key=lambda group: group.kind):
        of_kind = list(found)
        for start in range(0, len(of_kind), _BATCH):
            yield of_kind[start : start + _BATCH]


@dataclass(frozen=True, slots=True)
class _Means:
    """Means of a metric over a batch's groups: (groups,), and in each resample (resamples, groups).

    NaN in resamples that have no game of the group.
    """

    value: Floats
    resampled: Floats

    def __sub__(self, other: _Means) -> _Means:
        return _Means(self.value - other.value, self.resampled - other.resampled)

    def over(self, other: _Means) -> _Means:
        """How much larger these are, as a share of the other's."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return _Means(self.value / other.value - 1, self.resampled / other.resampled - 1)

    def estimates(self, bootstrap: GameBootstrap) -> list[Estimate | None]:
        """The figure of each group; None if it is not finite in a resample that has a game of the group."""
        ends = bootstrap.intervals(self.resampled)
        return [
            Estimate(*map(float, each)) if np.isfinite(each).all() else None
            for each in zip(self.value, *ends, strict=True)
        ]


def _measure(found: FoldScores, place: int, groups: Sequence[_Group], bootstrap: GameBootstrap) -> list[GroupMetrics]:
    horizon = HORIZONS[place]
    outcomes = found.outcomes[:, place]
    cases = np.stack([group.which.sum(axis=1, dtype=np.float64) for group in groups], axis=1)  # (n, groups)
    # They are whole numbers, but for rounding.
    resampled = np.rint(bootstrap.resampled_means(cases) * len(found)) / len(found)
    counts = _Means(cases.mean(axis=0), np.where(resampled > 0, resampled, np.nan))
    means: dict[str, dict[str, _Means]] = {}
    small = groups[0].kind == MINUTE_AND_LEAD
    for name in SMALL_FORECASTERS if small else FORECASTERS:
        of_each = losses(found.forecasts[name], outcomes, cases_of(horizon))
        if small:
            of_each = {metric: of_each[metric] for metric in SMALL_METRICS if metric in of_each}
        columns = {
            metric: np.stack([(group.of(values) * group.which).sum(axis=1) for group in groups], axis=1)
            for metric, values in of_each.items()
        }
        means[name] = _ratios(columns, counts, bootstrap)
        if "rmse" in means[name]:
            squared = means[name]["rmse"]
            means[name]["rmse"] = _Means(np.sqrt(squared.value), np.sqrt(squared.resampled))
        if groups[0].kind in CALIBRATION_KINDS:
            probability = found.forecasts[name].probability[:, cases_of(horizon)]
            means[name]["ece"] = _calibration_errors(probability, outcomes > 0, groups, counts, bootstrap)
    return _of_groups(groups, means, bootstrap)


def _ratios(columns: dict[str, Floats], counts: _Means, bootstrap: GameBootstrap) -> dict[str, _Means]:
    """Means over forecasts from sums over each game's: (n, groups) by metric."""
    together = np.concatenate(list(columns.values()), axis=1)
    value, resampled = together.mean(axis=0), bootstrap.resampled_means(together)
    groups = len(counts.value)
    result = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for index, metric in enumerate(columns):
            part = slice(index * groups, (index + 1) * groups)
            result[metric] = _Means(value[part] / counts.value, resampled[:, part] / counts.resampled)
    return result


def _calibration_errors(
    probability: NDArray[np.float32],
    happened: NDArray[np.bool_],
    groups: Sequence[_Group],
    counts: _Means,
    bootstrap: GameBootstrap,
) -> _Means:
    """The expected calibration errors of a batch's groups."""
    gaps = probability.astype(np.float64) - happened[:, None]
    places = np.arange(len(gaps))[:, None] * ECE_BINS + metrics.probability_bin(probability)
    values, resampled = [], []
    with np.errstate(divide="ignore", invalid="ignore"):
        for index, group in enumerate(groups):
            of_group = group.of(places)[group.which], group.of(gaps)[group.which]
            counted = np.bincount(of_group[0], weights=of_group[1], minlength=len(gaps) * ECE_BINS)
            sums = counted.astype(np.float64).reshape(-1, ECE_BINS)
            values.append(np.abs(sums.mean(axis=0)).sum() / counts.value[index])
            resampled.append(np.abs(bootstrap.resampled_means(sums)).sum(axis=1) / counts.resampled[:, index])
    return _Means(np.array(values), np.stack(resampled, axis=1))


def _of_groups(
    groups: Sequence[_Group], means: dict[str, dict[str, _Means]], bootstrap: GameBootstrap
) -> list[GroupMetrics]:
    result = [GroupMetrics(int(group.which.any(axis=1).sum()), int(group.which.sum()), {}, {}, {}) for group in groups]
    for name, mine in means.items():
        _keep(result, {metric: mine[metric] for metric in METRICS if metric in mine}, bootstrap, "values", name)
        for reference in REFERENCES:
            if name != reference:
                theirs = means[reference]
                shared = [metric for metric in SCORES if metric in mine and metric in theirs]
                less = {metric: mine[metric] - theirs[metric] for metric in shared}
                _keep(result, less, bootstrap, "differences", name, reference)
                over = {metric: mine[metric].over(theirs[metric]) for metric in shared}
                _keep(result, over, bootstrap, "relative", name, reference)
    return result


def _keep(
    result: list[GroupMetrics], means: dict[str, _Means], bootstrap: GameBootstrap, field: str, *path: str
) -> None:
    """Puts figures in their places in each group, by metric; those that are not there are left out."""
    places = []
    for group in result:
        place = getattr(group, field)
        for key in path:
            place = place.setdefault(key, {})
        places.append(place)
    for metric, each in means.items():
        for place, it in zip(places, each.estimates(bootstrap), strict=True):
            if it is not None:
                place[metric] = it
