"""Decides whether forecasts are fit to be served: they must beat persistence, and coverage must be nominal.

Coverage must be nominal over all minutes, in every group by minute and |lead|, and must not differ between seasons by
more than chance. The verdict of a bundle is from a walk-forward of its recipe, or from one holdout test on the last
calibration games, which fits the recipe a second time without these games. The bundle is fitted on all games.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.errors import DataError
from dejavu_models.manifest import MAX_TEXT, VerdictRecord
from dejavu_models.metrics import Estimate, GameBootstrap
from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.data.games import Games
from dejavu_trainer.data.split import hold_out_last
from dejavu_trainer.evaluation.coverage import (
    LEVEL,
    MIN_GAMES,
    POWER,
    CoverageCheck,
    CoverageGroup,
    coverage_groups,
    coverages,
    group_powers,
)
from dejavu_trainer.evaluation.metrics import LEVELS, losses
from dejavu_trainer.evaluation.scoring.fold_scores import SCORING_STEPS, FoldScores, score, served
from dejavu_trainer.evaluation.scoring.forecasts import pool
from dejavu_trainer.evaluation.season_coverage import SeasonCoverage, season_coverages
from dejavu_trainer.execution import HERE, Execution, Progress
from dejavu_trainer.training.calibrate import CalibratedModels
from dejavu_trainer.training.recipe import TrainingConfig


@dataclass(frozen=True, slots=True)
class Check:
    """A requirement (the promise), the result, and whether the result meets the requirement."""

    name: str
    promise: str
    found: str
    passed: bool


def coverage_check(name: str, result: CoverageCheck, probability: float = LEVEL) -> Check:
    """Check that the interval of a coverage contains the expected coverage.

    Args:
        name: name of the check.
        result: the coverage, with its interval.
        probability: confidence level of the interval, for display only.
    """
    # The normal interval of a coverage near 100 % can exceed it. The displayed interval is cut off there; `agrees` uses
    # the full one.
    shown = Estimate(*(min(max(each, 0.0), 1.0) for each in result.found))
    return Check(
        name=name,
        promise=f"{100 * probability:.4g} % interval contains {100 * result.due:.4g} %",
        found=f"{shown.scaled(100):.2f} %",
        passed=result.agrees,
    )


def groups_check(groups: Sequence[CoverageGroup]) -> Check:
    """Check that the coverage of every group is within its bounds; state the power of the check."""
    excluded = [group for group in groups if not group.agrees]
    by_binomial = sum(not group.binomial[0] <= group.held <= group.binomial[1] for group in groups)
    found = (
        f"{len(excluded)} of {len(groups)} groups out of bounds"
        f" ({by_binomial} by binomial bounds, without calibration error)"
    )
    if excluded:
        worst = max(excluded, key=lambda group: abs(group.held / group.games - group.level / 100))
        found += (
            f"; worst: {series_name(worst.forecaster, worst.horizon)}, minute {worst.minute}, lead {worst.lead}:"
            f" {worst.held} of {worst.games} at {worst.level} %"
        )
    for weakest in group_powers(groups)[:1]:
        found += (
            f"; power: at nominal {weakest.level} %, a group of {weakest.games} games passes if"
            f" {100 * weakest.passes_from:.1f} to {100 * weakest.passes_to:.1f} % are covered"
        )
        if weakest.excluded_below is not None:
            found += (
                f", and is excluded with {100 * POWER:g} % probability if its true coverage is"
                f" {100 * weakest.excluded_below:.1f} %"
            )
    return Check(
        name="coverage by minute, and by minute and |lead|",
        promise=(
            f"every group with at least {MIN_GAMES} games within its bounds ({100 * LEVEL:g} % for all groups together)"
        ),
        found=found,
        passed=not excluded,
    )


def seasons_check(seasons: Sequence[SeasonCoverage]) -> Check:
    """Check that no coverage differs between seasons by more than chance; `seasons` must not be empty."""
    beyond = [each for each in seasons if not each.agrees]
    worst = max(seasons, key=lambda each: each.spread / each.bound)
    by_season = ", ".join(f"{season}: {100 * found.value:.1f}" for season, found in worst.seasons.items())
    return Check(
        name="coverage by season",
        promise=(
            f"standard deviation between seasons at most {worst.bound / worst.chance:.2f} times what chance gives"
            f" ({100 * LEVEL:g} % for all together)"
        ),
        found=(
            f"{len(beyond)} of {len(seasons)} above the bound; largest:"
            f" {series_name(worst.forecaster, worst.horizon)} at {worst.level} %: {100 * worst.spread:.2f} points,"
            f" {worst.spread / worst.chance:.2f} times the {100 * worst.chance:.2f} expected by chance ({by_season})"
        ),
        passed=not beyond,
    )


def series_name(forecaster: str, horizon: str) -> str:
    """Name a forecaster and a horizon in a check."""
    return f"{forecaster.replace('_', ' ')}, {horizon}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether forecasts may be served, the reason in a sentence or two, and all checks."""

    fit: bool
    reason: str
    checks: tuple[Check, ...]


def judge(
    folds: Sequence[FoldScores],
    *,
    seed: int = 0,
    resamples: int = 2000,
    groups: Sequence[CoverageGroup] | None = None,
    seasons: Sequence[SeasonCoverage] | None = None,
) -> Verdict:
    """Decide whether the tested forecasts may be served.

    Requirements for each horizon: the CRPS over all minutes is significantly below persistence's on the same games,
    by a 95 % bootstrap interval over games; coverage is nominal over all minutes and in every group by minute and
    |lead|; with several seasons, it does not differ between them by more than chance. The CRPS is not significantly
    above that of the linear reference, fitted anew for each season: a chain of challengers, each a little worse than
    the one before, does not fall behind it.
    For forecasters other than "served", the CRPS must only not be significantly above persistence's, which is hard to
    beat at halftime without teams or with frozen ratings; the requirements on coverage are the same.

    Args:
        folds: at least one fold: a single season, or those of a walk-forward.
        seed: random seed of the bootstrap and of the simulated seasons.
        resamples: number of bootstrap resamples.
        groups: the `coverage_groups` of the folds, if they are known.
        seasons: their `season_coverages`, if these are known.

    Raises:
        ValueError: if there is no fold.
    """
    pooled = pool(folds)
    bootstrap = GameBootstrap(len(pooled), seed=seed, resamples=resamples)
    checks = [
        _against(pooled, forecaster, "persistence", horizon, bootstrap)
        for forecaster, horizon in product(served(folds), HORIZONS)
    ]
    checks += [_against(pooled, "served", "linear", horizon, bootstrap) for horizon in HORIZONS]
    # Bonferroni: if all coverages are nominal, all checks pass with probability LEVEL at least.
    corrected = 1 - (1 - LEVEL) / (len(served(folds)) * len(HORIZONS) * len(LEVELS))
    checks += [
        coverage_check(f"coverage at {each.level} %, {series_name(each.forecaster, each.horizon)}", each, corrected)
        for each in coverages(folds, corrected)
    ]
    checks.append(groups_check(coverage_groups(folds) if groups is None else groups))
    if by_season := season_coverages(folds, seed) if seasons is None else seasons:
        checks.append(seasons_check(by_season))
    failed = [check for check in checks if not check.passed]
    tested = f"{len(pooled):,} games of {', '.join(map(str, np.unique(pooled.season)))}"
    if failed:
        return Verdict(False, _reason(f"On {tested}", failed), tuple(checks))
    reason = (
        f"On {tested}: CRPS below persistence for both horizons, not above linear; coverage consistent with nominal in "
        f"every group{' and season' * (len(folds) > 1)}."
    )
    return Verdict(True, reason, tuple(checks))


def _reason(tested: str, failed: Sequence[Check]) -> str:
    """Return the failed checks: at most three, and not more than fit in MAX_TEXT characters."""
    failures = [f"{check.name}: {check.found} (required: {check.promise})" for check in failed]
    for shown in (3, 2, 1):
        more = [f"and {len(failures) - shown} more"] if len(failures) > shown else []
        reason = f"{tested}: {'; '.join([*failures[:shown], *more])}."
        if len(reason) <= MAX_TEXT:
            return reason
    return f"{tested}: {len(failures)} requirements are not met; the report of the backtest has them."


def _against(pooled: FoldScores, forecaster: str, reference: str, horizon: Horizon, bootstrap: GameBootstrap) -> Check:
    own, other = (losses(pooled, name, horizon)["crps"].mean(axis=1) for name in (forecaster, reference))
    difference = bootstrap.difference(own, other)
    better = (forecaster, reference) == ("served", "persistence")
    return Check(
        name=f"CRPS, {series_name(forecaster, horizon.value)}, minus {reference}",
        promise="95 % interval entirely below 0" if better else "95 % interval not entirely above 0",
        found=f"{difference:+.4f} points",
        passed=difference.upper < 0 if better else difference.lower <= 0,
    )


def holdout_verdict(models: CalibratedModels, progress: Progress, execution: Execution = HERE) -> VerdictRecord:
    """Return the verdict on the models of a bundle from one holdout test.

    Raises:
        DataError: if there are too few calibration games to split.
    """
    games = models.calibrate.games
    _, later = divide(games)
    earlier_models = models.without(later, progress, execution)
    with progress.step("Evaluate on the holdout", SCORING_STEPS) as advance:
        scored = score(earlier_models, games.select(later), advance)
    verdict, seasons = judge([scored]), np.unique(scored.season).tolist()
    return VerdictRecord(fit=verdict.fit, reason=verdict.reason, recipe=models.recipe.digest, seasons=tuple(seasons))


def divide(games: Games) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return masks of the calibration and of the test games: the last season, or the later half of a single one.

    Raises:
        DataError: if a single season has games on too few days.
    """
    last = games.season == games.season[-1]
    return hold_out_last(games.date, 0.5) if last.all() else (~last, last)


def verdict_of(backtest: Path, recipe: TrainingConfig, games: Games) -> tuple[VerdictRecord, str]:
    """Read the verdict of a walk-forward with the same recipe from the JSON file that it wrote.

    Args:
        backtest: the file.
        recipe: the recipe of the bundle.
        games: the games that the bundle is made from. A season that the walk-forward used as well must have the same
            games.

    Returns:
        The verdict, and a note on limits of its meaning for these games; empty if there are none.

    Raises:
        DataError: if the file can't be read, has another recipe, or other games of a season.
    """
    try:
        document = json.loads(backtest.read_bytes())
        record = VerdictRecord(
            fit=document["verdict"]["fit"],
            reason=document["verdict"]["reason"],
            recipe=document["recipe"],
            seasons=tuple(document["seasons"]),
        )
        tested: dict[str, str] = dict(document.get("method", {}).get("data_by_season", {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{backtest}: is not the result of a backtest: {error}") from error
    if record.recipe != recipe.digest:
        raise DataError(
            f"{backtest}: has recipe {record.recipe}, not {recipe.digest}: run a backtest with the same options"
        )
    if not tested:
        return record, f"{backtest} does not say which games it is about: whether these are the same was not checked"
    given = games.fingerprints
    if other := [season for season in given if tested.get(season, given[season]) != given[season]]:
        raise DataError(
            f"{backtest}: is about other games of season {', '.join(other)} than those in --data: run a backtest on the"
            " same data"
        )
    if not given.keys() & {f"{season}" for season in record.seasons}:
        seasons = ", ".join(map(str, record.seasons))
        return record, f"none of the seasons that {backtest} tested ({seasons}) is among the games of this bundle"
    return record, ""
