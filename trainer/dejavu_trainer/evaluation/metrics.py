"""Computes errors, scores and coverages by group of forecasts, with bootstrap intervals.

A metric is the unweighted mean over the forecasts of a group. Uncertainty is computed by game, since the minutes of one
game are dependent: intervals are 95 % percentile bootstrap intervals over games. Differences are paired, that is,
computed on the same resampled games.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.pattern import QUARTER_MINUTES
from dejavu_models import metrics
from dejavu_models.arrays import Floats
from dejavu_models.metrics import ECE_BINS, Estimate, GameBootstrap
from dejavu_models.types import CASES, HORIZONS, Horizon
from dejavu_models.uncertainty.lattice.game import MIN_PROBABILITY
from dejavu_models.uncertainty.lead_groups import lead_groups
from dejavu_trainer.evaluation.scoring.fold_scores import (
    CEILING,
    FORECASTERS,
    LINE,
    OF_LINE,
    PARTS,
    PLAYERS,
    STATIC,
    FoldScores,
)
from dejavu_trainer.evaluation.scoring.forecasts import ALPHAS, AnyScores, Forecasts, pool
from dejavu_trainer.execution import Advance, ignore

LEADS: Final = ("0-3", "4-8", "9-15", "16+")
"""Groups by |lead| at the minute of the forecast, in points, inclusive."""

PHASES: Final = ("first third", "second third", "last third", "playoffs")
"""Phases of a season: thirds of the regular season by date; play-in and playoffs."""

QUARTERS: Final = ("first quarter", "second quarter", "third quarter", "fourth quarter")
"""By the minute of the forecast: 1–12, 13–24, 25–36, 37–47."""

LATE: Final = (42, 47)
"""First and last of the minutes whose forecasts of the final are also summarized together."""

LATE_NAME: Final = f"{LATE[0]}–{LATE[1]}"
"""Name of the group of LATE."""

REFERENCES: Final = ("persistence", "linear", "logistic")
"""Forecasters that differences are computed against."""

OTHER_REFERENCES: Final = {
    LINE: ("served", *OF_LINE),
    PLAYERS: ("served", *REFERENCES),
    **dict.fromkeys(PARTS, (STATIC["served"],)),
}
"""References of other forecasters: for LINE, the served forecasts and the references with the line; for PLAYERS, the
served forecasts and REFERENCES; for components, the served forecasts without the factor of the season."""

LEVELS: Final = tuple(round(100 * (1 - alpha)) for alpha in ALPHAS)
"""Nominal coverages, in %."""

SCORES: Final = ("mae", "rmse", "crps", *(f"winkler_{level}" for level in LEVELS), "brier", "log_loss")
"""Negatively oriented scores; differences are computed for these."""

METRICS: Final = (*SCORES, *(f"{rate}_{level}" for rate in ("coverage", "width") for level in LEVELS), "ece")

MINUTE_AND_LEAD: Final = "minute and lead"
SMALL_FORECASTERS: Final = ("served", *REFERENCES)
SMALL_METRICS: Final = ("mae", "crps", "brier", *(f"coverage_{level}" for level in LEVELS))
"""Metrics of the many small groups by minute and lead."""

CALIBRATION_KINDS: Final = ("all", "season", "quarter", "phase", "lead")
"""Kinds of groups large enough for the calibration error not to be dominated by sampling error."""

CEILING_KINDS: Final = ("all", "minute", "late")
"""Kinds of groups with the metrics of the forecasters of CEILING."""

_BATCH = 48
"""Number of groups resampled at once; bounds the memory."""


@dataclass(frozen=True, slots=True)
class GroupMetrics:
    """Metrics of a group of forecasts.

    Attributes:
        games, cases: number of games, and of forecasts per forecaster.
        values: by forecaster and metric. A metric is missing if the forecaster does not have it, or the calibration is
            too small for the interval.
        differences: by forecaster, reference and score: mean score minus the reference's on the same games; below 0 is
            better.
        relative: the same as a share of the reference's mean; missing if the reference's mean can be 0 in a resample.
    """

    games: int
    cases: int
    values: dict[str, dict[str, Estimate]]
    differences: dict[str, dict[str, dict[str, Estimate]]]
    relative: dict[str, dict[str, dict[str, Estimate]]]


MetricsByForecaster = dict[str, dict[str, dict[str, GroupMetrics]]]
"""By horizon, kind of group (all, season, minute, season at minute 18, late, quarter, phase, lead, minute and lead) and
name of the group."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of forecasts: mask `which` (n, minutes), starting at minute index `first` (0 is minute 1)."""

    kind: str
    name: str
    which: NDArray[np.bool_]
    first: int = 0

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Select the columns that `which` covers from values (n, minutes of the horizon)."""
        return values[:, self.first : self.first + self.which.shape[1]]


class Compared(NamedTuple):
    """What is compared: the forecasters, the references of each, and the scores whose differences are computed."""

    forecasters: Sequence[str]
    references: Callable[[str], Sequence[str]]
    scores: Sequence[str]


_COMPARED: Final = Compared(FORECASTERS, lambda name: OTHER_REFERENCES.get(name, REFERENCES), SCORES)


def cases_of(horizon: Horizon) -> slice:
    """Return the slice of a horizon's cases on axes over cases, ordered by minute."""
    indices = [index for index, (horizon_index, _) in enumerate(CASES) if HORIZONS[horizon_index] is horizon]
    return slice(indices[0], indices[-1] + 1)


def losses(fold: AnyScores, forecaster: str, horizon: Horizon) -> dict[str, Floats]:
    """Compute the loss of each forecast by metric, (n, minutes); a metric is its mean (rmse: the root of it).

    There is no loss for ece, which is not a mean, nor for intervals at levels that have none.
    """
    forecasts, cases = fold.forecasts[forecaster], cases_of(horizon)
    outcome = fold.outcomes[:, [HORIZONS.index(horizon)]].astype(np.float64)
    result: dict[str, Floats] = {}
    if forecasts.point is not None and forecasts.crps is not None:
        result["mae"] = metrics.absolute_error(forecasts.point[:, cases], outcome)
        result["crps"] = forecasts.crps[:, cases].astype(np.float64)
    if isinstance(forecasts, Forecasts):  # of differentials
        probability = forecasts.probability[:, cases].astype(np.float64)
        result["brier"] = metrics.brier(probability, outcome > 0)
        stated = np.clip(probability, MIN_PROBABILITY, 1 - MIN_PROBABILITY)  # as a server states it
        result["log_loss"] = metrics.log_loss(stated, outcome > 0)
        if forecasts.point is not None:
            result["rmse"] = metrics.squared_error(forecasts.point[:, cases], outcome)
    if forecasts.lower is None or forecasts.upper is None:
        return result
    for index, (alpha, level) in enumerate(zip(ALPHAS, LEVELS, strict=True)):
        lower, upper = (ends[:, cases, index].astype(np.float64) for ends in (forecasts.lower, forecasts.upper))
        if not np.isfinite(lower).all():
            continue
        result[f"winkler_{level}"] = metrics.winkler(lower, upper, outcome, alpha)
        held = metrics.covered(lower, upper, outcome) if forecasts.held is None else forecasts.held[:, cases, index]
        result[f"coverage_{level}"] = held.astype(np.float64)
        result[f"width_{level}"] = upper - lower
    return result


def compute_metrics(
    folds: Sequence[FoldScores], *, seed: int = 0, resamples: int = 2000, advance: Advance = ignore
) -> MetricsByForecaster:
    """Compute all metrics of the games of some folds.

    Args:
        folds: at least one fold.
        seed: random seed of the bootstrap over games.
        resamples: number of bootstrap resamples.
        advance: called with 1 after each horizon.
    """
    pooled = pool(folds)
    bootstrap = GameBootstrap(len(pooled), seed=seed, resamples=resamples)
    result: MetricsByForecaster = {}
    for horizon in HORIZONS:
        groups = [group for group in _groups(pooled, horizon) if group.which.any()]
        result[horizon.value] = measure(pooled, horizon, groups, _COMPARED, bootstrap)
        advance(1)
    return result


def measure(
    scores: AnyScores, horizon: Horizon, groups: Sequence[Group], compared: Compared, bootstrap: GameBootstrap
) -> dict[str, dict[str, GroupMetrics]]:
    """Compute the metrics of groups of forecasts of a horizon, by kind and name of the group."""
    result: dict[str, dict[str, GroupMetrics]] = {}
    for batch in _batches(groups):
        for group, metrics_of_group in zip(batch, _measure(scores, horizon, batch, compared, bootstrap), strict=True):
            result.setdefault(group.kind, {})[group.name] = metrics_of_group
    return result


def phases(fold: FoldScores) -> NDArray[np.int64]:
    """Return the index in PHASES of each game."""
    result = np.full(len(fold), len(PHASES) - 1, dtype=np.int64)
    for season in np.unique(fold.season):
        regular = np.flatnonzero((fold.season == season) & (fold.phase == "RS"))
        ordered = regular[np.argsort(fold.date[regular], kind="stable")]
        result[ordered] = np.arange(len(ordered)) * 3 // max(len(ordered), 1)
    return result


def _groups(fold: FoldScores, horizon: Horizon) -> Iterator[Group]:
    minutes = range(horizon.last_slot)
    shape = len(fold), len(minutes)
    lead, phase = lead_groups(fold.leads[:, : len(minutes)]), phases(fold)
    yield from common_groups(fold, horizon, main_minute=18)
    for number, name in enumerate(QUARTERS):
        if of_quarter := minutes[QUARTER_MINUTES * number : QUARTER_MINUTES * (number + 1)]:
            yield Group("quarter", name, np.ones((len(fold), len(of_quarter)), dtype=np.bool_), of_quarter[0])
    for number, name in enumerate(PHASES):
        yield Group("phase", name, np.broadcast_to((phase == number)[:, None], shape))
    for number, name in enumerate(LEADS):
        yield Group("lead", name, lead == number)
    for minute in minutes:
        for number, name in enumerate(LEADS):
            yield Group(MINUTE_AND_LEAD, f"{minute + 1} {name}", lead[:, [minute]] == number, minute)


def common_groups(scores: AnyScores, horizon: Horizon, main_minute: int) -> Iterator[Group]:
    """Yield the groups of differentials and of totals: all, season, minute, season at a main minute, late.

    The last is left out for a horizon that ends before LATE.
    """
    games, shape = np.ones((len(scores), 1), dtype=np.bool_), (len(scores), horizon.last_slot)
    seasons = [(str(season), (scores.season == season)[:, None]) for season in np.unique(scores.season)]
    yield Group("all", "all", np.broadcast_to(games, shape))
    for name, of_season in seasons:
        yield Group("season", name, np.broadcast_to(of_season, shape))
    for minute in range(horizon.last_slot):
        yield Group("minute", f"{minute + 1}", games, minute)
    for name, of_season in seasons:
        yield Group(f"season at minute {main_minute}", name, of_season, main_minute - 1)
    first, last = LATE
    if last <= horizon.last_slot:
        yield Group("late", LATE_NAME, np.broadcast_to(games, (len(scores), last - first + 1)), first - 1)


def _batches(groups: Sequence[Group]) -> Iterator[Sequence[Group]]:
    """Yield batches of at most _BATCH groups of the same kind."""
    for _, members in itertools.groupby(groups, key=lambda group: group.kind):
        of_kind = list(members)
        for start in range(0, len(of_kind), _BATCH):
            yield of_kind[start : start + _BATCH]


def _forecasters(kind: str, fold: AnyScores, compared: Compared) -> tuple[str, ...]:
    """Return the forecasters that groups of a kind are measured for."""
    if kind == MINUTE_AND_LEAD:
        return SMALL_FORECASTERS
    left_out = () if kind in CEILING_KINDS else CEILING
    return tuple(each for each in compared.forecasters if each in fold.forecasts and each not in left_out)


def _measure(
    fold: AnyScores, horizon: Horizon, groups: Sequence[Group], compared: Compared, bootstrap: GameBootstrap
) -> list[GroupMetrics]:
    """Compute the metrics of a batch's groups, from `_resampled_means`; NaN in resamples without their games."""
    led = fold.outcomes[:, HORIZONS.index(horizon)] > 0
    counts = _resampled_means(
        np.stack([group.which.sum(axis=1, dtype=np.float64) for group in groups], axis=1), bootstrap
    )
    # The totals are integers up to floating-point error.
    totals = np.rint(counts[1:] * len(fold))
    counts[1:] = np.where(totals > 0, totals / len(fold), np.nan)
    means: dict[str, dict[str, Floats]] = {}
    small = groups[0].kind == MINUTE_AND_LEAD
    for name in _forecasters(groups[0].kind, fold, compared):
        losses_by_metric = losses(fold, name, horizon)
        shown = [metric for metric in (SMALL_METRICS if small else losses_by_metric) if metric in losses_by_metric]
        sums = [(group.of(losses_by_metric[metric]) * group.which).sum(axis=1) for metric in shown for group in groups]
        parts = np.split(_resampled_means(np.stack(sums, axis=1), bootstrap), len(shown), axis=1)
        means[name] = {metric: part / counts for metric, part in zip(shown, parts, strict=True)}
        if "rmse" in means[name]:
            means[name]["rmse"] = np.sqrt(means[name]["rmse"])
        forecasts = fold.forecasts[name]
        if groups[0].kind in CALIBRATION_KINDS and isinstance(forecasts, Forecasts):
            probability = forecasts.probability[:, cases_of(horizon)]
            means[name]["ece"] = _calibration_errors(probability, led, groups, bootstrap) / counts
    return _group_metrics(groups, means, compared, bootstrap)


def _resampled_means(by_game: Floats, bootstrap: GameBootstrap) -> Floats:
    """Return the means of (n, k) scores over all games, in row 0, and in each resample: (1 + resamples, k)."""
    return np.vstack([by_game.mean(axis=0), bootstrap.resampled_means(by_game)])


def _calibration_errors(
    probability: NDArray[np.float32], happened: NDArray[np.bool_], groups: Sequence[Group], bootstrap: GameBootstrap
) -> Floats:
    """Compute the expected calibration errors of a batch's groups, times their mean number of forecasts per game."""
    gaps = probability.astype(np.float64) - happened[:, None]
    bins = np.arange(len(gaps))[:, None] * ECE_BINS + metrics.probability_bin(probability)
    errors = []
    for group in groups:
        of_group = group.of(bins)[group.which], group.of(gaps)[group.which]
        counted = np.bincount(of_group[0], weights=of_group[1], minlength=len(gaps) * ECE_BINS)
        sums = counted.astype(np.float64).reshape(-1, ECE_BINS)
        errors.append(np.abs(_resampled_means(sums, bootstrap)).sum(axis=1))
    return np.stack(errors, axis=1)


def _group_metrics(
    groups: Sequence[Group], means: dict[str, dict[str, Floats]], compared: Compared, bootstrap: GameBootstrap
) -> list[GroupMetrics]:
    result = [GroupMetrics(int(group.which.any(axis=1).sum()), int(group.which.sum()), {}, {}, {}) for group in groups]
    for name, own in means.items():
        values = {metric: own[metric] for metric in METRICS if metric in own}
        estimated = [([group.values.setdefault(name, {}) for group in result], values)]
        for reference in compared.references(name):
            if name != reference:
                other = means[reference]
                shared = [metric for metric in compared.scores if metric in own and metric in other]
                differences = {metric: own[metric] - other[metric] for metric in shared}
                with np.errstate(divide="ignore", invalid="ignore"):
                    relative = {metric: own[metric] / other[metric] - 1 for metric in shared}
                for field, each in (("differences", differences), ("relative", relative)):
                    by_name = [getattr(group, field).setdefault(name, {}) for group in result]
                    estimated.append(([target.setdefault(reference, {}) for target in by_name], each))
        _store(estimated, bootstrap)
    return result


def _store(
    estimated: Sequence[tuple[Sequence[dict[str, Estimate]], dict[str, Floats]]], bootstrap: GameBootstrap
) -> None:
    """Store the estimates of each group by metric, without those that are not finite in a resample with its games.

    Args:
        estimated: one target per group, with the means by metric: (1 + resamples, groups) each. All intervals are
            computed at once, since most of these arrays are small.
        bootstrap: computes the intervals.
    """
    means = np.hstack([each for _, by_metric in estimated for each in by_metric.values()])
    estimates = np.vstack([means[:1], bootstrap.intervals(means[1:])]).T
    found = iter(estimates.tolist())
    for targets, by_metric in estimated:
        for metric in by_metric:
            for target, estimate in zip(targets, itertools.islice(found, len(targets)), strict=True):
                if all(map(math.isfinite, estimate)):
                    target[metric] = Estimate(*estimate)
