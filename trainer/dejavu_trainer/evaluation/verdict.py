"""Decides whether forecasts may be served: they must beat persistence, and coverage must be nominal in every group.

Coverage is tested with the game as the unit, since the minutes of one game are dependent. Sampling error of both the
test and the calibration is counted. With several seasons, each has its own calibration; their sampling errors are
treated as independent, although the calibrations may share seasons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist
from typing import Final

import numpy as np

from dejavu_models.metrics import Estimate, GameBootstrap
from dejavu_models.types import HORIZONS, Horizon
from dejavu_models.uncertainty.conformal_cells import lead_groups
from dejavu_trainer.evaluation.fold_scores import ALPHAS, SERVED, FoldScores
from dejavu_trainer.evaluation.metrics import LEADS, LEVELS, cases_of, losses, pool
from dejavu_trainer.evaluation.regions import binomial_region, conformal_region

MIN_GAMES: Final = 150
"""Minimum number of games of a group by minute and lead that is tested by itself."""

LEVEL: Final = 0.99
"""Probability that nominal coverage passes: in a verdict, jointly for all overall coverages; in the acceptance checks,
for each; in both, jointly for all groups."""


@dataclass(frozen=True, slots=True)
class Check:
    """A requirement (the promise), what was found, and whether that meets it."""

    name: str
    promise: str
    found: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether forecasts may be served, the reason in a sentence or two, and all checks."""

    fit: bool
    reason: str
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class CoverageCheck:
    """Empirical coverage over all of a horizon's minutes.

    Attributes:
        forecaster: one of SERVED.
        horizon: name of the horizon.
        level: nominal coverage, in %.
        found: empirical coverage, with its interval at LEVEL, which counts the sampling error of test and calibration.
        due: expected coverage, given the size of the calibration: it exceeds the nominal one by less than
            2 / (games of a cell + 1).
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
        forecaster: one of SERVED.
        horizon: name of the horizon.
        minute: minute of the forecast.
        lead: one of LEADS.
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


def judge(folds: Sequence[FoldScores], *, seed: int = 0, resamples: int = 2000) -> Verdict:
    """Decides whether the tested forecasts may be served.

    Requirements for each horizon: the CRPS over all minutes is significantly below persistence's on the same games,
    by a 95 % bootstrap interval over games; coverage is nominal over all minutes and in every group by minute and
    |lead|.
    Without teams or with frozen ratings, persistence is hard to beat at halftime: there the CRPS must only not be
    significantly above it; the requirements on coverage are the same.

    Args:
        folds: at least one fold: a single season, or those of a walk-forward.
        seed: random seed of the bootstrap.
        resamples: number of bootstrap resamples.

    Raises:
        ValueError: if there is no fold.
    """
    pooled = pool(folds)
    bootstrap = GameBootstrap(len(pooled), seed=seed, resamples=resamples)
    checks = [
        _against_persistence(pooled, forecaster, horizon, bootstrap)
        for forecaster, horizon in product(SERVED, HORIZONS)
    ]
    # Bonferroni: if all coverages are nominal, all checks pass with probability LEVEL at least.
    corrected = 1 - (1 - LEVEL) / (len(SERVED) * len(HORIZONS) * len(LEVELS))
    checks += [
        coverage_check(f"coverage at {each.level} %, {_names(each.forecaster, each.horizon)}", each, corrected)
        for each in coverages(folds, corrected)
    ]
    checks.append(groups_check(coverage_groups(folds)))
    failed = [check for check in checks if not check.passed]
    tested = f"{len(pooled):,} games of {', '.join(map(str, np.unique(pooled.season)))}"
    if failed:
        failures = "; ".join(f"{check.name}: {check.found} (required: {check.promise})" for check in failed[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        return Verdict(False, f"On {tested}: {failures}{more}.", tuple(checks))
    reason = f"On {tested}: CRPS below persistence for both horizons; coverage consistent with nominal in every group."
    return Verdict(True, reason, tuple(checks))


def coverages(folds: Sequence[FoldScores], probability: float = LEVEL) -> list[CoverageCheck]:
    """Computes the coverage over all of a horizon's minutes, by forecaster, horizon and level; see `coverage`."""
    found = (
        coverage(folds, name, horizon, horizon.forecast_minutes, level, probability)
        for name, horizon, level in product(SERVED, HORIZONS, LEVELS)
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
    """Computes the coverage over some minutes, and checks it against the expected one.

    Games are independent, their minutes are not: the standard error is that of a mean over games of the share of
    covered minutes. To first order, a calibration on n games has the same sampling error as a test on n games, so
    that the variance of a fold with N test games is proportional to 1/N + 1/n.

    Args:
        folds: at least one fold.
        forecaster: one of SERVED.
        horizon: the horizon.
        minutes: minutes of the forecasts.
        level: nominal coverage, in %.
        probability: confidence level of the interval.

    Returns:
        The check; None if a calibration is too small for the level.
    """
    columns = [minute - 1 for minute in minutes]
    alpha = ALPHAS[LEVELS.index(level)]
    covered_shares, expected_shares = [], []
    for fold in folds:
        losses_by_metric = losses(fold, forecaster, horizon)
        if f"coverage_{level}" not in losses_by_metric:
            return None
        covered_shares.append(losses_by_metric[f"coverage_{level}"][:, columns].mean(axis=1))
        cells = fold.cell_games[cases_of(horizon)][columns]  # (minutes, lead groups)
        exact = 1 - 2 * np.floor((cells + 1) * alpha / 2 + 1e-9) / (cells + 1)
        expected_shares.append(exact[np.arange(len(columns)), lead_groups(fold.leads[:, columns])].mean(axis=1))
    shares, expected = np.concatenate(covered_shares), float(np.concatenate(expected_shares).mean())
    games = len(shares)
    parts = [(len(fold) / games, 1 / len(fold) + 1 / fold.calibration_games) for fold in folds]
    half = (
        NormalDist().inv_cdf((1 + probability) / 2)
        * (float(shares.var()) * sum(share**2 * each for share, each in parts)) ** 0.5
    )
    value = float(shares.mean())
    return CoverageCheck(
        forecaster=forecaster,
        horizon=horizon.value,
        level=level,
        found=Estimate(value, value - half, value + half),
        due=expected,
        agrees=abs(value - expected) <= half,
    )


def coverage_groups(folds: Sequence[FoldScores]) -> list[CoverageGroup]:
    """Computes the coverage by forecaster, horizon, minute, |lead| and level, for groups of MIN_GAMES or more."""
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
    """Yields the first five fields of each group, its covered games, and its games and cell's games by fold."""
    groups = [lead_groups(fold.leads) for fold in folds]
    for forecaster, horizon in product(SERVED, HORIZONS):
        hits = [losses(fold, forecaster, horizon) for fold in folds]
        for minute, (lead, lead_name) in product(horizon.forecast_minutes, enumerate(LEADS)):
            rows = [of_fold[:, minute - 1] == lead for of_fold in groups]
            cells = [int(fold.cell_games[cases_of(horizon)][minute - 1, lead]) for fold in folds]
            tested = [(int(which.sum()), cell) for which, cell in zip(rows, cells, strict=True) if which.any()]
            for level in LEVELS:
                name = f"coverage_{level}"
                if sum(games for games, _ in tested) >= MIN_GAMES and all(name in each for each in hits):
                    held = sum(int(each[name][which, minute - 1].sum()) for each, which in zip(hits, rows, strict=True))
                    yield (forecaster, horizon.value, minute, lead_name, level), held, tested


def _against_persistence(pooled: FoldScores, forecaster: str, horizon: Horizon, bootstrap: GameBootstrap) -> Check:
    own, reference = (losses(pooled, name, horizon)["crps"].mean(axis=1) for name in (forecaster, "persistence"))
    difference = bootstrap.difference(own, reference)
    better = forecaster == "ensemble"
    return Check(
        name=f"CRPS, {_names(forecaster, horizon.value)}, minus persistence",
        promise="95 % interval entirely below 0" if better else "95 % interval not entirely above 0",
        found=f"{difference:+.4f} points",
        passed=difference.upper < 0 if better else difference.lower <= 0,
    )


def coverage_check(name: str, result: CoverageCheck, probability: float = LEVEL) -> Check:
    """Checks that the interval of a coverage contains the expected coverage.

    Args:
        name: name of the check.
        result: the coverage, with its interval.
        probability: confidence level of that interval, to be named.
    """
    # The normal interval of a coverage near 100 % can reach beyond it. What is shown ends there, `agrees` uses it all.
    shown = Estimate(*(min(max(each, 0.0), 1.0) for each in result.found))
    return Check(
        name=name,
        promise=f"{100 * probability:.4g} % interval contains {100 * result.due:.4g} %",
        found=f"{shown.scaled(100):.2f} %",
        passed=result.agrees,
    )


def groups_check(groups: Sequence[CoverageGroup]) -> Check:
    """Checks that the coverage of every group is within its bounds."""
    excluded = [group for group in groups if not group.agrees]
    by_binomial = sum(not group.binomial[0] <= group.held <= group.binomial[1] for group in groups)
    found = (
        f"{len(excluded)} of {len(groups)} groups out of bounds"
        f" ({by_binomial} by binomial bounds, without calibration error)"
    )
    if excluded:
        worst = max(excluded, key=lambda group: abs(group.held / group.games - group.level / 100))
        found += (
            f"; worst: {_names(worst.forecaster, worst.horizon)}, minute {worst.minute}, lead {worst.lead}:"
            f" {worst.held} of {worst.games} at {worst.level} %"
        )
    return Check(
        name="coverage by minute and |lead|",
        promise=(
            f"every group with at least {MIN_GAMES} games within its bounds ({100 * LEVEL:g} % for all groups together)"
        ),
        found=found,
        passed=not excluded,
    )


def _names(forecaster: str, horizon: str) -> str:
    return f"{forecaster.replace('_', ' ')}, {horizon}"
