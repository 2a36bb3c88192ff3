"""Coverage over all minutes, by season and by group, with the sampling errors of test and calibration.

Coverage is tested with the game as the unit, since the minutes of one game are dependent. The sampling errors of both
the test and the calibration are included. With several seasons, each has its own calibration; their sampling errors are
treated as independent, although the calibrations may share seasons.

A pooled coverage is also right if intervals are too narrow in one season and too wide in another, so each season is
compared with its own interval too. Intervals that follow a season (`uncertainty/adaptive.py`) compensate part of
its sampling error; the interval ignores this, and is too wide for them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats, Integers
from dejavu_models.metrics import Estimate
from dejavu_models.types import CASES, HORIZONS
from dejavu_trainer.evaluation.figures import (
    ALL,
    LEADS,
    LEVELS,
    MARGINS,
    TOTALS,
    Table,
    lead_groups,
)

MIN_GAMES: Final = 150
"""Minimum number of games of a group by minute and lead that is tested separately."""

LEVEL: Final = 0.99
"""Probability that checks pass if every true coverage is nominal: in a verdict, of all overall coverages together; in
the acceptance checks, of each season's coverage alone; in both, of all groups together."""

POWER: Final = 0.8
"""Probability with which a group's test excludes the true coverages for which its power is stated."""


@lru_cache(maxsize=8192)  # a result needs the same region for many forecasters and groups
def conformal_region(tests: tuple[tuple[int, int], ...], alpha: float, level: float = LEVEL) -> tuple[int, int]:
    """Return the counts of covered outcomes that agree with split-conformal intervals: first and last, both included.

    Includes the randomness of the calibration sample: the coverage of an interval between the k-th smallest and the
    k-th largest of n residuals, k = ⌊(n + 1)·α/2⌋, is not 1 − α but a draw from Beta(n + 1 − 2k, 2k) (Vovk, Conditional
    validity of inductive conformal predictors, 2012). The count of covered outcomes is therefore beta-binomial; for
    several tests, each with its own calibration, it is a sum of independent beta-binomials.

    Args:
        tests: numbers of test games and of calibration games, n, of each test.
        alpha: miscoverage rate of the interval.
        level: probability of the central region for exchangeable games.

    Raises:
        ValueError: if there are no test games, or too few calibration games for alpha, or alpha is not in (0, 1).
    """
    from scipy import stats  # imported late: it takes a second

    probability = np.ones(1)
    for count, games in tests:
        missed = 2 * math.floor((games + 1) * alpha / 2)
        if count < 1 or not 0.0 < alpha < 1.0 or missed < 2:
            raise ValueError(f"no intervals at alpha {alpha} from {games} games, tested on {count}")
        covered = stats.betabinom.pmf(np.arange(count + 1), count, games + 1 - missed, missed)
        probability = np.convolve(probability, covered)
    tail = (1.0 - level) / 2.0
    first = int(np.searchsorted(np.cumsum(probability), tail, side="right"))
    # Sum the upper tail from its own end: 1 minus a sum near 1 loses all digits.
    last = len(probability) - 1 - int(np.searchsorted(np.cumsum(probability[::-1]), tail, side="right"))
    return first, last


def detected_rate(trials: int, first: int, power: float = POWER) -> float:
    """Return the true rate at and below which a count is smaller than the first of a region with some probability.

    Args:
        trials: number of events.
        first: smallest count of the region; with 0, no rate is detected, and 0 is returned.
        power: probability of a smaller count.
    """
    from scipy import stats  # imported late: it takes a second

    # A binomial tail as a beta quantile (Clopper & Pearson 1934).
    return float(stats.beta.ppf(1 - power, first, trials - first + 1)) if first else 0.0


@dataclass(frozen=True, slots=True)
class EmpiricalCoverage:
    """Empirical coverage over some forecasts.

    Attributes:
        found: empirical coverage, with its interval, which includes the sampling errors of test and calibration.
        due: expected coverage, given the size of the calibration: it exceeds the nominal one by less than
            2 / (calibration games + 1).
    """

    found: Estimate
    due: float

    @property
    def agrees(self) -> bool:
        """Whether the expected coverage is in the interval."""
        return self.found.lower <= self.due <= self.found.upper

    @property
    def deviation(self) -> float:
        """Distance of the coverage from the expected one, as a share of the half width of its interval."""
        half = (self.found.upper - self.found.lower) / 2
        return abs(self.found.value - self.due) / half if half else math.inf


@dataclass(frozen=True, slots=True)
class CoverageGroup:
    """Empirical coverage in a group by minute and |lead|.

    Attributes:
        forecaster, target, level: of the forecasts; the level in %.
        minute: minute of the forecast.
        lead: one of LEADS, or ALL: its test is of more games, and detects smaller deviations.
        games: number of games.
        held: number of games whose outcome is in the interval.
        first, last: bounds of `held`: conformal region at LEVEL, corrected for the number of groups.
    """

    forecaster: str
    target: str
    level: int
    minute: int
    lead: str
    games: int
    held: int
    first: int
    last: int

    @property
    def agrees(self) -> bool:
        """Whether `held` is within its bounds."""
        return self.first <= self.held <= self.last


def folds_of_games(table: Table) -> Integers:
    """Return the index of the fold of each game."""
    seasons = table.columns["fold.season"]
    order = np.argsort(seasons)
    return order[np.searchsorted(seasons[order], table.columns["game.season"])]


def covered_shares(table: Table, target: str, forecaster: str, level: int, rows: Integers | None = None) -> Floats:
    """Return the share of each game's forecasts that were covered, (games,); NaN for games without any.

    Args:
        table: the scores.
        target: target of the forecasts.
        forecaster: who made them.
        level: nominal coverage, in %; the forecaster must have these intervals.
        rows: of which forecasts; by default of all.
    """
    used = slice(None) if rows is None else rows
    game = table.of(target, "game")[used]
    sums = np.bincount(game, table.of(target, f"{forecaster}.held_{level}")[used], minlength=len(table))
    with np.errstate(invalid="ignore"):
        shares: Floats = sums / np.bincount(game, minlength=len(table))
    return shares


def coverage(
    table: Table,
    target: str,
    forecaster: str,
    level: int,
    *,
    season: int | None = None,
    rows: Integers | None = None,
    probability: float = LEVEL,
) -> EmpiricalCoverage | None:
    """Compute the coverage over some forecasts, with the expected one.

    Games are independent, their minutes are not: the standard error is that of a mean over games of the share of
    covered minutes. To first order, a calibration on n games has the same sampling error as a test on n games, so
    that the variance of a fold with N test games is proportional to 1/N + 1/n.

    Args:
        table: the scores.
        target: of margins or totals.
        forecaster: who made the forecasts.
        level: nominal coverage, in %.
        season: of which season's games; by default of all.
        rows: of which forecasts; by default of all.
        probability: confidence level of the interval.

    Returns:
        The coverage; None if the forecaster has no such intervals, or no such forecast.
    """
    if f"{target}.{forecaster}.held_{level}" not in table.columns:
        return None
    shares, folds = covered_shares(table, target, forecaster, level, rows), folds_of_games(table)
    tested = np.isfinite(shares) & (True if season is None else table.columns["game.season"] == season)
    if not tested.any():
        return None
    shares, games = shares[tested], np.bincount(folds[tested], minlength=len(table.columns["fold.season"]))
    behind = table.columns["fold.total_games" if target in TOTALS.values() else "fold.calibration_games"]
    weights, used = games / len(shares), games > 0
    ranks = behind[used] + 1
    due = 1 - 2 * np.floor(ranks * (100 - level) / 200 + 1e-9) / ranks
    chance = np.square(weights[used]) * (1 / games[used] + 1 / behind[used])
    half = NormalDist().inv_cdf((1 + probability) / 2) * math.sqrt(float(shares.var() * chance.sum()))
    value = float(shares.mean())
    return EmpiricalCoverage(Estimate(value, value - half, value + half), float(weights[used] @ due))


def coverage_by_season(
    table: Table, target: str, forecaster: str, level: int, rows: Integers | None = None, probability: float = LEVEL
) -> dict[int, EmpiricalCoverage]:
    """Compute the coverage over the forecasts of each tested season; see `coverage`. Seasons without any are absent."""
    seasons = table.columns["fold.season"].tolist()
    found = {
        each: coverage(table, target, forecaster, level, season=each, rows=rows, probability=probability)
        for each in seasons
    }
    return {season: each for season, each in found.items() if each is not None}


def coverage_groups(table: Table, forecasters: Sequence[str]) -> list[CoverageGroup]:
    """Compute the coverage of margins by forecaster, horizon, minute, |lead| and level.

    Groups have MIN_GAMES games or more. Each minute also has the group of all its games.
    """
    found = []
    folds, cells = folds_of_games(table), table.columns["fold.cell_games"]
    for index, horizon in enumerate(HORIZONS):
        target, minutes = MARGINS[horizon], horizon.last_slot
        first = CASES.index((index, 1))
        calibrated = np.moveaxis(cells[:, first : first + minutes], 0, 2)  # (minutes, leads, folds)
        minute = (table.of(target, "second") / 60 - 1).astype(np.int64)
        place = np.ravel_multi_index(
            (minute, lead_groups(table.of(target, "lead")), folds[table.of(target, "game")]), calibrated.shape
        )
        games = _with_all(np.bincount(place, minlength=calibrated.size).reshape(calibrated.shape))
        of_all = np.broadcast_to(table.columns["fold.calibration_games"], (minutes, 1, calibrated.shape[2]))
        behind = np.concatenate([calibrated, of_all], axis=1)
        for forecaster, level in product(forecasters, LEVELS):
            held = table.columns.get(f"{target}.{forecaster}.held_{level}")
            if held is None:
                continue
            counts = _with_all(np.bincount(place, held, minlength=calibrated.size).reshape(calibrated.shape))
            for row, (column, name) in product(range(minutes), enumerate((*LEADS, ALL))):
                tested = games[row, column]
                if tested.sum() >= MIN_GAMES:
                    pairs = tuple((int(n), int(m)) for n, m in zip(tested, behind[row, column], strict=True) if n)
                    total = int(counts[row, column].sum())
                    found.append(((forecaster, target, level, row + 1, name), total, pairs))
    corrected = 1 - (1 - LEVEL) / max(len(found), 1)
    return [
        CoverageGroup(
            *key, sum(n for n, _ in pairs), held, *conformal_region(pairs, round(1 - key[2] / 100, 2), corrected)
        )
        for key, held, pairs in found
    ]


def _with_all(counts: NDArray[Any]) -> NDArray[Any]:
    """Return counts by minute, lead and fold, followed by those of all leads."""
    return np.concatenate([counts, counts.sum(axis=1, keepdims=True)], axis=1)
