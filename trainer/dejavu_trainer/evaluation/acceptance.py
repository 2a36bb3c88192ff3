"""Acceptance checks on the metrics of a walk-forward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from dejavu_models.metrics import Estimate
from dejavu_models.types import Horizon
from dejavu_trainer.evaluation.fold_scores import FoldScores
from dejavu_trainer.evaluation.metrics import LEVELS, GroupMetrics, MetricsByForecaster
from dejavu_trainer.evaluation.verdict import (
    Check,
    CoverageCheck,
    CoverageGroup,
    coverage,
    coverage_check,
    groups_check,
)

SHARE: Final = 0.005
"""Largest accepted upper end of the interval of a relative difference, as a share of the reference's score."""

CALIBRATION_ERROR: Final = 0.02
MINUTE: Final = "18"
"""Main minute for forecasting halftime: 6:00 of the second quarter."""


def acceptance_checks(
    folds: Sequence[FoldScores],
    figures: MetricsByForecaster,
    coverages: Sequence[CoverageCheck],
    groups: Sequence[CoverageGroup],
) -> tuple[Check, ...]:
    """Returns all acceptance checks.

    Args:
        folds: folds of the walk-forward.
        figures: metrics of all folds.
        coverages: coverages of all folds; only those of the ensemble with teams are checked.
        groups: coverage by group, of all folds; only those of the ensemble with teams are checked.
    """
    return (
        *_half(figures),
        *_final(figures),
        *_rates(folds, coverages),
        groups_check([group for group in groups if group.forecaster == "ensemble"]),
    )


def _half(figures: MetricsByForecaster) -> Iterator[Check]:
    by_kind = figures[Horizon.HALFTIME.value]
    group, seasons = by_kind["minute"][MINUTE], by_kind["season at minute 18"]
    for metric in ("mae", "crps"):
        name = f"halftime from minute {MINUTE}: {metric.upper()}"
        difference = _difference(group, "persistence", metric)
        yield Check(
            name=f"{name} minus persistence",
            promise="95 % interval entirely below 0",
            found=f"{difference:+.4f} points",
            passed=difference.upper < 0,
        )
        by_season = {
            season: _difference(season_group, "persistence", metric).value for season, season_group in seasons.items()
        }
        yield Check(
            name=f"{name} minus persistence, by season",
            promise="at most 0 in every season",
            found=", ".join(f"{season}: {value:+.3f}" for season, value in by_season.items()),
            passed=max(by_season.values()) <= 0,
        )
        yield _within_share(f"{name} relative to the linear model", group, "linear", metric)
    winkler = _difference(group, "persistence", "winkler_95")
    yield Check(
        name=f"halftime from minute {MINUTE}: Winkler score at 95 % minus persistence",
        promise="below 0",
        found=f"{winkler:+.4f} points",
        passed=winkler.value < 0,
    )


def _final(figures: MetricsByForecaster) -> Iterator[Check]:
    group = figures[Horizon.FINAL.value]["all"]["all"]
    yield _within_share(
        "winner, minutes 1–47: Brier score relative to the logistic regression", group, "logistic", "brier"
    )
    difference = _difference(group, "logistic", "brier")
    ensemble, logistic = (group.values[name]["brier"].value for name in ("ensemble", "logistic"))
    yield Check(
        name="winner, minutes 1–47: Brier score minus the logistic regression",
        promise="below 0",
        found=f"{difference:+.5f}; {ensemble:.4f} vs. {logistic:.4f}",
        passed=difference.value < 0,
    )
    for horizon, name in ((Horizon.FINAL, "winner"), (Horizon.HALFTIME, "leader at halftime")):
        error = figures[horizon.value]["all"]["all"].values["ensemble"]["ece"]
        yield Check(
            name=f"{name}: expected calibration error, all minutes",
            promise=f"at most {CALIBRATION_ERROR}",
            found=f"{error:.4f}",
            passed=error.value <= CALIBRATION_ERROR,
        )


def _rates(folds: Sequence[FoldScores], coverages: Sequence[CoverageCheck]) -> Iterator[Check]:
    for check in coverages:
        if check.forecaster == "ensemble":
            yield coverage_check(f"coverage at {check.level} %, {check.horizon}, all minutes", check)
    for level in LEVELS:
        at_18 = coverage(folds, "ensemble", Horizon.HALFTIME, [int(MINUTE)], level)
        if at_18 is not None:
            yield coverage_check(f"coverage at {level} %, halftime from minute {MINUTE}", at_18)


def _within_share(name: str, group: GroupMetrics, reference: str, metric: str) -> Check:
    ratio = group.relative["ensemble"][reference][metric]
    return Check(
        name=name,
        promise=f"upper end of the 95 % interval at most {SHARE:+.1%}",
        found=f"{ratio:+.2%}",
        passed=ratio.upper <= SHARE,
    )


def _difference(group: GroupMetrics, reference: str, metric: str) -> Estimate:
    return group.differences["ensemble"][reference][metric]
