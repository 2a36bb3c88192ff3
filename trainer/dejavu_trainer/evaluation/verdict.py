"""Whether forecasts may be served: they must beat "the lead stays as it is", and intervals hold in every group.

A rate is held against what chance explains. The unit of chance is the game, since a game's minutes share its fate; and
there is chance in the calibration as well as in the test. Of several seasons, each was forecast with a calibration of
its own; the chance in these is counted as if no two of them shared a season.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from dejavu_models import metrics
from dejavu_models.metrics import Estimate, GameBootstrap
from dejavu_models.types import HORIZONS, Horizon
from dejavu_models.uncertainty.conformal import lead_groups
from dejavu_trainer.evaluation.fold_scores import ALPHAS, CASES, FoldScores
from dejavu_trainer.evaluation.metrics import LEADS, LEVELS, cases_of, losses, pool

JUDGED: Final = ("ensemble", "frozen", "no_teams")
"""The ensemble with an expected margin that is up to date, with that of a bundle's own ratings, and with none: all that
is served must hold."""

LEAST_GAMES: Final = 150
"""Of a group by minute and lead that is judged by itself."""

LEVEL: Final = 0.99
"""Probability with which rates that are true pass: in a verdict, all overall rates together; among the promises, each
by itself; in both, all groups together."""


@dataclass(frozen=True, slots=True)
class Check:
    """Something promised, and what was found.

    Attributes:
        name: in short.
        promise: what must hold.
        found: the figures.
        passed: whether it holds.
    """

    name: str
    promise: str
    found: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether forecasts may be served.

    Attributes:
        fit: whether they may.
        reason: what that rests on, in a sentence or two.
        checks: all that was looked at.
    """

    fit: bool
    reason: str
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class CoverageCheck:
    """How often intervals held over all of a horizon's minutes.

    Attributes:
        forecaster: one of JUDGED.
        horizon: its name.
        level: nominal coverage, in %.
        found: the share that held, with its interval at LEVEL, in which the chance of test and calibration is counted.
        due: what it is the share of in the long run, which the calibration's size decides: that is the nominal one but
            for less than one in as many as a cell has games.
        agrees: whether that lies in the interval.
    """

    forecaster: str
    horizon: str
    level: int
    found: Estimate
    due: float
    agrees: bool


@dataclass(frozen=True, slots=True)
class CoverageGroup:
    """How often intervals held in a group by minute and |lead|.

    Attributes:
        forecaster: one of JUDGED.
        horizon: its name.
        minute: of the forecast.
        lead: one of LEADS.
        level: nominal coverage, in %.
        games: how many there are.
        held: in how many of them the interval held.
        first, last: of how many that may be true: conformal regions at LEVEL, corrected for the number of groups.
        binomial: the same if the calibration had no chance in it.
        agrees: whether `held` is from `first` to `last`.
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
    """Whether what was tested may be served.

    It may if, for each horizon, the CRPS over all minutes lies below persistence's on the same games by more than
    chance explains (95 % bootstrap interval over games), and coverage is true: over all minutes, and in every group by
    minute and |lead|. Without teams, or with ratings that stand still, hardly anything beats persistence at the half:
    there the CRPS must not be worse by more than chance explains, and coverage be as true.

    Args:
        folds: one, or the seasons of a walk-forward; at least one.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        ValueError: if there is no fold.
    """
    pooled = pool(folds)
    bootstrap = GameBootstrap(len(pooled), seed=seed, resamples=resamples)
    checks = [
        _against_persistence(pooled, forecaster, horizon, bootstrap) for forecaster in JUDGED for horizon in HORIZONS
    ]
    minutes = {horizon: range(1, horizon.last_slot + 1) for horizon in HORIZONS}
    many = [(name, horizon, level) for name in JUDGED for horizon in HORIZONS for level in LEVELS]
    # Each at a level that lets all of them together pass with probability LEVEL, if they are true.
    corrected = 1 - (1 - LEVEL) / len(many)
    overall = (coverage(folds, name, horizon, minutes[horizon], level, corrected) for name, horizon, level in many)
    checks += [
        coverage_check(f"coverage at {each.level} %, {_names(each.forecaster, each.horizon)}", each)
        for each in overall
        if each is not None
    ]
    checks.append(groups_check(coverage_groups(folds)))
    broken = [check for check in checks if not check.passed]
    tested = f"{len(pooled):,} games of {', '.join(map(str, np.unique(pooled.season)))}"
    if broken:
        told = "; ".join(f"{check.name}: {check.found} (must be: {check.promise})" for check in broken[:3])
        more = f"; and {len(broken) - 3} more" if len(broken) > 3 else ""
        return Verdict(False, f"On {tested}: {told}{more}.", tuple(checks))
    reason = f"On {tested}: CRPS below persistence's, for both horizons; intervals hold at their rates in every group."
    return Verdict(True, reason, tuple(checks))


def coverages(folds: Sequence[FoldScores]) -> list[CoverageCheck]:
    """How often intervals held over all of a horizon's minutes, by forecaster, horizon and level."""
    result = []
    for forecaster in JUDGED:
        for horizon in HORIZONS:
            minutes = range(1, horizon.last_slot + 1)
            result += [coverage(folds, forecaster, horizon, minutes, level) for level in LEVELS]
    return [each for each in result if each is not None]


def coverage(
    folds: Sequence[FoldScores],
    forecaster: str,
    horizon: Horizon,
    minutes: Sequence[int],
    level: int,
    probability: float = LEVEL,
) -> CoverageCheck | None:
    """How often intervals held over some minutes, and whether chance explains how far that is from what is due.

    Games are independent, their minutes are not: the standard error is that of a mean over games of the share of their
    minutes that held. To first order a calibration of n games is off by as much as a test of n games, so that each fold
    of N games adds 1/N + 1/n to the variance.

    Args:
        folds: at least one.
        forecaster: one of JUDGED.
        horizon: to look at.
        minutes: of the forecasts.
        level: nominal coverage, in %.
        probability: of the interval.

    Returns:
        None if a calibration is too small for the level.
    """
    place, columns = HORIZONS.index(horizon), [minute - 1 for minute in minutes]
    alpha = ALPHAS[LEVELS.index(level)]
    held, due = [], []
    for fold in folds:
        of_each = losses(fold.forecasts[forecaster], fold.outcomes[:, place], cases_of(horizon))
        if f"coverage_{level}" not in of_each:
            return None
        held.append(of_each[f"coverage_{level}"][:, columns].mean(axis=1))
        cells = fold.cell_games[cases_of(horizon)][columns]  # (minutes, lead groups)
        exact = 1 - 2 * np.floor((cells + 1) * alpha / 2 + 1e-9) / (cells + 1)
        due.append(exact[np.arange(len(columns)), lead_groups(fold.leads[:, columns])].mean(axis=1))
    shares, expected = np.concatenate(held), float(np.concatenate(due).mean())
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
    """The groups by forecaster, horizon, minute, |lead| and level with at least LEAST_GAMES games."""
    counted = list[tuple[str, int, int, int, int, list[int], list[int], int]]()
    for forecaster in JUDGED:
        for place, horizon in enumerate(HORIZONS):
            stages = cases_of(horizon)
            hits = [losses(fold.forecasts[forecaster], fold.outcomes[:, place], stages) for fold in folds]
            groups = [lead_groups(fold.leads) for fold in folds]
            for stage in range(stages.start, stages.stop):
                column = CASES[stage][1] - 1
                for lead in range(len(LEADS)):
                    rows = [of_fold[:, column] == lead for of_fold in groups]
                    games = [int(of_fold.sum()) for of_fold in rows]
                    if sum(games) < LEAST_GAMES:
                        continue
                    cells = [int(fold.cell_games[stage, lead]) for fold in folds]
                    for index, level in enumerate(LEVELS):
                        if all(f"coverage_{level}" in each for each in hits):
                            held = sum(
                                int(each[f"coverage_{level}"][which, column].sum())
                                for each, which in zip(hits, rows, strict=True)
                            )
                            counted.append((forecaster, place, column + 1, lead, index, games, cells, held))
    corrected = 1 - (1 - LEVEL) / max(len(counted), 1)
    result = []
    for forecaster, place, minute, lead, index, games, cells, held in counted:
        parts = [(n, cell) for n, cell in zip(games, cells, strict=True) if n]
        first, last = metrics.conformal_region(
            [n for n, _ in parts], [cell for _, cell in parts], ALPHAS[index], corrected
        )
        result.append(
            CoverageGroup(
                forecaster=forecaster,
                horizon=HORIZONS[place].value,
                minute=minute,
                lead=LEADS[lead],
                level=LEVELS[index],
                games=sum(games),
                held=held,
                first=first,
                last=last,
                binomial=metrics.binomial_region(sum(games), 1 - ALPHAS[index], corrected),
                agrees=first <= held <= last,
            )
        )
    return result


def _against_persistence(pooled: FoldScores, forecaster: str, horizon: Horizon, bootstrap: GameBootstrap) -> Check:
    place, stages = HORIZONS.index(horizon), cases_of(horizon)
    mine, theirs = (
        losses(pooled.forecasts[name], pooled.outcomes[:, place], stages)["crps"].mean(axis=1)
        for name in (forecaster, "persistence")
    )
    difference = bootstrap.difference(mine, theirs)
    better = forecaster == "ensemble"
    return Check(
        name=f"CRPS, {_names(forecaster, horizon.value)}, less persistence's",
        promise="the whole interval lies below 0" if better else "the interval does not lie above 0",
        found=f"{difference.value:+.4f} [{difference.lower:+.4f}, {difference.upper:+.4f}] points",
        passed=difference.upper < 0 if better else difference.lower <= 0,
    )


def coverage_check(name: str, it: CoverageCheck) -> Check:
    """Whether a coverage is what is due."""
    return Check(
        name=name,
        promise=f"an interval that holds {100 * it.due:.4g} %",
        found=f"{100 * it.found.value:.2f} [{100 * it.found.lower:.2f}, {100 * it.found.upper:.2f}] %",
        passed=it.agrees,
    )


def groups_check(groups: Sequence[CoverageGroup]) -> Check:
    """Whether no group is excluded by its bounds."""
    excluded = [group for group in groups if not group.agrees]
    by_binomial = sum(not group.binomial[0] <= group.held <= group.binomial[1] for group in groups)
    found = f"{len(excluded)} of {len(groups)} excluded ({by_binomial} if the calibration had no chance in it)"
    if excluded:
        worst = max(excluded, key=lambda group: abs(group.held / group.games - group.level / 100))
        found += (
            f", the worst: {_names(worst.forecaster, worst.horizon)}, minute {worst.minute}, lead {worst.lead}:"
            f" {worst.held} of {worst.games} at {worst.level} %"
        )
    return Check(
        name="coverage by minute and |lead|",
        promise=f"the bounds of no group with {LEAST_GAMES} games exclude it, corrected for their number",
        found=found,
        passed=not excluded,
    )


def _names(forecaster: str, horizon: str) -> str:
    return f"{forecaster.replace('_', ' ')}, {horizon}"
