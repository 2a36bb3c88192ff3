"""Coverage over all minutes and by group, with the sampling errors of test and calibration.

Coverage is tested with the game as the unit, since the minutes of one game are dependent. The sampling errors of both
the test and the calibration are included. With several seasons, each has its own calibration; their sampling errors are
treated as independent, although the calibrations may share seasons.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from statistics import NormalDist
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.metrics import Estimate
from dejavu_models.types import HORIZONS, Horizon
from dejavu_models.uncertainty.lead_groups import lead_groups
from dejavu_trainer.evaluation.metrics import LEADS, LEVELS, cases_of, losses
from dejavu_trainer.evaluation.scoring.fold_scores import FoldScores, served
from dejavu_trainer.evaluation.scoring.forecasts import ALPHAS

_CACHED: Final = 8192
"""Number of cached regions: a result needs the same one for many forecasters and groups."""


@lru_cache(maxsize=_CACHED)
def binomial_region(trials: int, rate: float, level: float = 0.99) -> tuple[int, int]:
    """Return the counts of successes that agree with a nominal rate: first and last, both included.

    Exact and central: of `trials` independent events with probability `rate`, fewer than the first happen with
    probability at most (1 − level)/2, and more than the last with probability at most (1 − level)/2.

    Raises:
        ValueError: if there are no trials, or the rate is not in (0, 1).
    """
    if trials < 1 or not 0.0 < rate < 1.0:
        raise ValueError(f"no binomial distribution: {trials} trials at rate {rate}")
    from scipy import stats  # imported late: it takes a second

    return _central(stats.binom.pmf(np.arange(trials + 1), trials, rate), level)


def conformal_region(
    trials: int | Sequence[int], calibration: int | Sequence[int], alpha: float, level: float = 0.99
) -> tuple[int, int]:
    """Return the counts of covered outcomes that agree with a split-conformal interval: first and last, both included.

    Like `binomial_region`, but includes the randomness of the calibration sample: the coverage of an interval between
    the k-th smallest and the k-th largest of n residuals, k = ⌊(n + 1)·α/2⌋, is not 1 − α but a draw from
    Beta(n + 1 − 2k, 2k) (Vovk, Conditional validity of inductive conformal predictors, 2012). The count of covered
    outcomes is therefore beta-binomial; for several tests, each with its own calibration, it is a sum of independent
    beta-binomials.

    Args:
        trials: number of test games, of each test if there are several.
        calibration: number of calibration games, n, of each test.
        alpha: miscoverage rate of the interval.
        level: probability of the region for exchangeable games.

    Raises:
        ValueError: if there are no trials, or too few calibration games for alpha, or alpha is not in (0, 1).
    """
    pairs = np.broadcast(trials, calibration)
    return _conformal_region(tuple((int(count), int(games)) for count, games in pairs), alpha, level)


@lru_cache(maxsize=_CACHED)
def _conformal_region(tests: tuple[tuple[int, int], ...], alpha: float, level: float) -> tuple[int, int]:
    from scipy import stats  # imported late: it takes a second

    probability = np.ones(1)
    for count, games in tests:
        missed = 2 * math.floor((games + 1) * alpha / 2)
        if count < 1 or not 0.0 < alpha < 1.0 or missed < 2:
            raise ValueError(f"no intervals at alpha {alpha} from {games} games, tested on {count}")
        covered = stats.betabinom.pmf(np.arange(count + 1), count, games + 1 - missed, missed)
        probability = np.convolve(probability, covered)
    return _central(probability, level)


def detected_rates(trials: int, first: int, last: int, power: float = 0.8) -> tuple[float, float]:
    """Return the true rates at and beyond which a count lies outside a region with some probability.

    Args:
        trials: number of events.
        first: smallest count of the region.
        last: largest count of the region.
        power: probability of a count outside it.

    Returns:
        The largest rate at which a count below `first` has this probability, and the smallest rate at which a count
        above `last` has it; NaN where there is no count beyond the region.

    Raises:
        ValueError: if the region does not lie in 0 to `trials`, or the power is not in (0, 1).
    """
    if not 0 <= first <= last <= trials or not 0.0 < power < 1.0:
        raise ValueError(f"no region of {trials} trials: {first} to {last}, power {power}")
    from scipy import stats  # imported late: it takes a second

    # Binomial tails as beta quantiles (Clopper & Pearson 1934).
    below = float(stats.beta.ppf(1 - power, first, trials - first + 1)) if first > 0 else math.nan
    above = float(stats.beta.ppf(power, last + 1, trials - last)) if last < trials else math.nan
    return below, above


def _central(probability: Floats, level: float) -> tuple[int, int]:
    """Return the central region of a count, given the probabilities of 0, 1, 2, …."""
    tail = (1.0 - level) / 2.0
    first = int(np.searchsorted(np.cumsum(probability), tail, side="right"))
    # Sum the upper tail from its own end: 1 minus a sum near 1 loses all digits.
    last = len(probability) - 1 - int(np.searchsorted(np.cumsum(probability[::-1]), tail, side="right"))
    return first, last


MIN_GAMES: Final = 150
"""Minimum number of games of a group by minute and lead that is tested separately."""

ALL_LEADS: Final = "all"
"""Name of the group of all games at a minute, whatever their lead; it is larger than the groups by lead, so its test
detects smaller deviations."""

LEVEL: Final = 0.99
"""Probability that checks pass if every true coverage is nominal: in a verdict, of all overall coverages together; in
the acceptance checks, of each season's coverage alone; in both, of all groups together."""


POWER: Final = 0.8
"""Probability with which a group's test excludes the true coverages for which its power is stated; see `GroupPower`."""


@dataclass(frozen=True, slots=True)
class CoverageCheck:
    """Empirical coverage over all of a horizon's minutes.

    Attributes:
        forecaster: one of `served`.
        horizon: name of the horizon.
        level: nominal coverage, in %.
        found: empirical coverage, with its interval at LEVEL, which includes the sampling errors of test and
            calibration.
        due: expected coverage, given the size of the calibration: it exceeds the nominal one by less than
            2 / (calibration games + 1).
        agrees: whether the expected coverage is in the interval.
    """

    forecaster: str
    horizon: str
    level: int
    found: Estimate
    due: float
    agrees: bool


@dataclass(frozen=True, slots=True)
class CoverageGroup:
    """Empirical coverage in a group by minute and |lead|.

    Attributes:
        forecaster: one of `served`.
        horizon: name of the horizon.
        minute: minute of the forecast.
        lead: one of LEADS, or ALL_LEADS.
        level: nominal coverage, in %.
        games: number of games.
        held: number of games whose outcome is in the interval.
        first, last: bounds of `held`: conformal region at LEVEL, corrected for the number of groups.
        binomial: binomial bounds, which ignore the sampling error of the calibration.
        agrees: whether `held` is within `first` and `last`.
    """

    forecaster: str
    horizon: str
    minute: int
    lead: str
    level: int
    games: int
    held: int
    first: int
    last: int
    binomial: tuple[int, int]
    agrees: bool


@dataclass(frozen=True, slots=True)
class GroupPower:
    """Power of the test of one group.

    Attributes:
        level: nominal coverage, in %.
        games: number of games.
        passes_from, passes_to: smallest and largest share of covered games that is not excluded.
        excluded_below, excluded_above: a true coverage of at most `excluded_below`, or of at least `excluded_above`, is
            excluded with probability POWER or more; None if no coverage on that side is.
    """

    level: int
    games: int
    passes_from: float
    passes_to: float
    excluded_below: float | None
    excluded_above: float | None


def coverages(folds: Sequence[FoldScores], probability: float = LEVEL) -> list[CoverageCheck]:
    """Compute the coverage over all of a horizon's minutes, by forecaster, horizon and level; see `coverage`."""
    found = (
        coverage(folds, name, horizon, horizon.forecast_minutes, level, probability)
        for name, horizon, level in product(served(folds), HORIZONS, LEVELS)
    )
    return [each for each in found if each is not None]


def coverage(
    folds: Sequence[FoldScores],
    forecaster: str,
    horizon: Horizon,
    minutes: Sequence[int],
    level: int,
    probability: float = LEVEL,
) -> CoverageCheck | None:
    """Compute the coverage over some minutes, and check it against the expected one.

    Games are independent, their minutes are not: the standard error is that of a mean over games of the share of
    covered minutes. To first order, a calibration on n games has the same sampling error as a test on n games, so
    that the variance of a fold with N test games is proportional to 1/N + 1/n.

    Args:
        folds: at least one fold.
        forecaster: one of `served`.
        horizon: the horizon.
        minutes: minutes of the forecasts.
        level: nominal coverage, in %.
        probability: confidence level of the interval.

    Returns:
        The check; None if a calibration is too small for the level.
    """
    found = [covered_shares(fold, forecaster, horizon, minutes, level) for fold in folds]
    by_fold = [each for each in found if each is not None]
    if len(by_fold) < len(folds):
        return None
    return coverage_of(folds, by_fold, forecaster, horizon, level, probability)


def coverage_of(
    folds: Sequence[FoldScores],
    by_fold: Sequence[tuple[Floats, Floats]],
    forecaster: str,
    horizon: Horizon,
    level: int,
    probability: float = LEVEL,
) -> CoverageCheck:
    """Compute the coverage from the `covered_shares` of each fold; see `coverage`."""
    shares, expected = (np.concatenate([each[part] for each in by_fold]) for part in (0, 1))
    games = len(shares)
    parts = [(len(fold) / games, 1 / len(fold) + 1 / fold.calibration_games) for fold in folds]
    half = (
        NormalDist().inv_cdf((1 + probability) / 2)
        * (float(shares.var()) * sum(share**2 * each for share, each in parts)) ** 0.5
    )
    value, due = float(shares.mean()), float(expected.mean())
    return CoverageCheck(
        forecaster=forecaster,
        horizon=horizon.value,
        level=level,
        found=Estimate(value, value - half, value + half),
        due=due,
        agrees=abs(value - due) <= half,
    )


def covered_shares(
    fold: FoldScores, forecaster: str, horizon: Horizon, minutes: Sequence[int], level: int
) -> tuple[Floats, Floats] | None:
    """Return the share of each game's minutes that were covered, and the expected share, (n,) each.

    None if the calibration is too small for the level.
    """
    columns = [minute - 1 for minute in minutes]
    alpha = ALPHAS[LEVELS.index(level)]
    losses_by_metric = losses(fold, forecaster, horizon)
    if f"coverage_{level}" not in losses_by_metric:
        return None
    ranks = fold.calibration_games + 1
    expected = 1 - 2 * math.floor(ranks * alpha / 2 + 1e-9) / ranks
    return losses_by_metric[f"coverage_{level}"][:, columns].mean(axis=1), np.full(len(fold), expected)


def coverage_groups(folds: Sequence[FoldScores]) -> list[CoverageGroup]:
    """Compute the coverage by forecaster, horizon, minute, |lead| and level, for groups of MIN_GAMES or more.

    Each minute also has the group of all its games.
    """
    counts = list(_counts(folds))
    corrected = 1 - (1 - LEVEL) / max(len(counts), 1)
    result = []
    for group, held, tested in counts:
        by_fold, cells = zip(*tested, strict=True)
        games, alpha = sum(by_fold), ALPHAS[LEVELS.index(group[-1])]
        first, last = conformal_region(by_fold, cells, alpha, corrected)
        binomial = binomial_region(games, 1 - alpha, corrected)
        result.append(CoverageGroup(*group, games, held, first, last, binomial, first <= held <= last))
    return result


def _counts(
    folds: Sequence[FoldScores],
) -> Iterator[tuple[tuple[str, str, int, str, int], int, list[tuple[int, int]]]]:
    """Yield the first five fields of each `CoverageGroup`, its number of covered games, and its games by fold.

    The games by fold are pairs, one for each fold with games of the group: the number of its games, and of calibration
    games with such a lead.
    """
    groups = [lead_groups(fold.leads) for fold in folds]
    for forecaster, horizon in product(served(folds), HORIZONS):
        hits = [losses(fold, forecaster, horizon) for fold in folds]
        for minute, (lead, lead_name) in product(horizon.forecast_minutes, [*enumerate(LEADS), (None, ALL_LEADS)]):
            rows = [(of_fold[:, minute - 1] == lead) | (lead is None) for of_fold in groups]
            cells = [_cell_games(fold, horizon, minute, lead) for fold in folds]
            tested = [(int(which.sum()), cell) for which, cell in zip(rows, cells, strict=True) if which.any()]
            for level in LEVELS:
                name = f"coverage_{level}"
                if sum(games for games, _ in tested) >= MIN_GAMES and all(name in each for each in hits):
                    held = sum(int(each[name][which, minute - 1].sum()) for each, which in zip(hits, rows, strict=True))
                    yield (forecaster, horizon.value, minute, lead_name, level), held, tested


def _cell_games(fold: FoldScores, horizon: Horizon, minute: int, lead: int | None) -> int:
    """Return the number of calibration games after a minute with a lead in a group of LEADS; of all games if None."""
    if lead is None:
        return fold.calibration_games
    return int(fold.cell_games[cases_of(horizon)][minute - 1, lead])


def group_powers(groups: Sequence[CoverageGroup]) -> list[GroupPower]:
    """Compute the power of the test of the smallest, the median and the largest group of each level."""
    result = []
    for level in LEVELS:
        by_size = sorted((group for group in groups if group.level == level), key=lambda group: group.games)
        for index in sorted({0, len(by_size) // 2, len(by_size) - 1}) if by_size else ():
            group = by_size[index]
            below, above = detected_rates(group.games, group.first, group.last, POWER)
            result.append(
                GroupPower(
                    level=level,
                    games=group.games,
                    passes_from=group.first / group.games,
                    passes_to=group.last / group.games,
                    excluded_below=None if math.isnan(below) else below,
                    excluded_above=None if math.isnan(above) else above,
                )
            )
    return result
