"""Checks of coverages: results and requirements, as reports show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dejavu_models.metrics import Estimate
from dejavu_trainer.evaluation.coverage import (
    LEVEL,
    MIN_GAMES,
    POWER,
    CoverageCheck,
    CoverageGroup,
    group_powers,
)
from dejavu_trainer.evaluation.season_coverage import SeasonCoverage


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
