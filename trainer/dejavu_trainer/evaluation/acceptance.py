"""What the forecasts promise of a walk-forward, each promise held against its figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
"""Of a reference's score: how far the upper end of a difference's interval may lie above it."""

CALIBRATION_ERROR: Final = 0.02
MINUTE: Final = "18"
"""At which the half is forecast first of all: 6:00 of the second quarter."""


def promises(
    folds: Sequence[FoldScores],
    figures: MetricsByForecaster,
    coverages: Sequence[CoverageCheck],
    groups: Sequence[CoverageGroup],
) -> tuple[Check, ...]:
    """Every promise, and whether it holds.

    Args:
        folds: of the walk-forward.
        figures: of all of them.
        coverages: of all of them; those with teams are looked at.
        groups: likewise.
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
        name = f"half from minute {MINUTE}: {metric.upper()}"
        difference = _difference(group, "persistence", metric)
        yield Check(
            name=f"{name} less persistence's",
            promise="the whole interval lies below 0",
            found=_points(difference),
            passed=difference.upper < 0,
        )
        by_season = {season: _difference(found, "persistence", metric).value for season, found in seasons.items()}
        yield Check(
            name=f"{name} less persistence's, by season",
            promise="above 0 in no season",
            found=", ".join(f"{season}: {value:+.3f}" for season, value in by_season.items()),
            passed=max(by_season.values()) <= 0,
        )
        yield _within_share(f"{name} over the linear model's", group, "linear", metric)
    winkler = _difference(group, "persistence", "winkler_95")
    yield Check(
        name=f"half from minute {MINUTE}: Winkler score at 95 % less persistence's",
        promise="below 0",
        found=_points(winkler),
        passed=winkler.value < 0,
    )


def _final(figures: MetricsByForecaster) -> Iterator[Check]:
    group = figures[Horizon.FINAL.value]["all"]["all"]
    yield _within_share("winner, minutes 1–47: Brier score over the logistic regression's", group, "logistic", "brier")
    difference = _difference(group, "logistic", "brier")
    mine, theirs = (group.values[name]["brier"].value for name in ("ensemble", "logistic"))
    yield Check(
        name="winner, minutes 1–47: Brier score less the logistic regression's",
        promise="below 0",
        found=(
            f"{difference.value:+.5f} [{difference.lower:+.5f}, {difference.upper:+.5f}];"
            f" {mine:.4f} beside {theirs:.4f}"
        ),
        passed=difference.value < 0,
    )
    for horizon, name in ((Horizon.FINAL, "winner"), (Horizon.HALFTIME, "leader at the half")):
        error = figures[horizon.value]["all"]["all"].values["ensemble"]["ece"]
        yield Check(
            name=f"{name}: expected calibration error, all minutes",
            promise=f"at most {CALIBRATION_ERROR}",
            found=f"{error.value:.4f} [{error.lower:.4f}, {error.upper:.4f}]",
            passed=error.value <= CALIBRATION_ERROR,
        )


def _rates(folds: Sequence[FoldScores], coverages: Sequence[CoverageCheck]) -> Iterator[Check]:
    for each in coverages:
        if each.forecaster == "ensemble":
            yield coverage_check(f"coverage at {each.level} %, {each.horizon}, all minutes", each)
    for level in LEVELS:
        at_18 = coverage(folds, "ensemble", Horizon.HALFTIME, [int(MINUTE)], level)
        if at_18 is not None:
            yield coverage_check(f"coverage at {level} %, half from minute {MINUTE}", at_18)


def _within_share(name: str, group: GroupMetrics, reference: str, metric: str) -> Check:
    ratio = group.relative["ensemble"][reference][metric]
    return Check(
        name=name,
        promise=f"the interval's upper end at most {SHARE:+.1%}",
        found=f"{ratio.value:+.2%} [{ratio.lower:+.2%}, {ratio.upper:+.2%}]",
        passed=ratio.upper <= SHARE,
    )


def _difference(group: GroupMetrics, reference: str, metric: str) -> Estimate:
    by_metric: Mapping[str, Estimate] = group.differences["ensemble"][reference]
    return by_metric[metric]


def _points(it: Estimate) -> str:
    return f"{it.value:+.4f} [{it.lower:+.4f}, {it.upper:+.4f}] points"
