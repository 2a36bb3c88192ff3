"""Acceptance checks on the metrics of a walk-forward: aims of the recipe, which do not decide the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dejavu_models.types import Horizon
from dejavu_trainer.evaluation.coverage import LEVEL, CoverageGroup
from dejavu_trainer.evaluation.metrics import LATE_NAME, LEVELS, GroupMetrics, MetricsByForecaster
from dejavu_trainer.evaluation.moments import OVERTIME, MomentFigures
from dejavu_trainer.evaluation.scoring.totals import LINE, LINE_RATE, SERVED, TotalScores
from dejavu_trainer.evaluation.season_coverage import SeasonCoverage
from dejavu_trainer.evaluation.total_metrics import main_minute, season_shares
from dejavu_trainer.evaluation.verdict import Check, groups_check, series_name

CALIBRATION_ERROR: Final = 0.010
"""Largest accepted expected calibration error of the winner's probability."""

SPREAD: Final = (80, 0.013)
"""A level, in %, and the largest accepted standard deviation, between seasons, of the final forecast's coverage at that
level, as a share."""

MINUTE: Final = "18"
"""Main minute for forecasting halftime: 6:00 of the second quarter."""


@dataclass(frozen=True, slots=True)
class _Aim:
    """Limits of a score's difference from a reference's score, as shares of the reference's score.

    Attributes:
        most: largest accepted relative difference.
        most_upper: largest accepted upper end of its 95 % interval; None: not checked.
    """

    name: str
    metric: str
    reference: str
    most: float
    most_upper: float | None = None


def acceptance_checks(
    figures: MetricsByForecaster, seasons: Sequence[SeasonCoverage], groups: Sequence[CoverageGroup]
) -> tuple[Check, ...]:
    """Return all acceptance checks; they concern the served forecasts with known teams.

    Args:
        figures: metrics of all folds.
        seasons: coverage by season; without several seasons, it is not checked.
        groups: coverage by group, of all folds.
    """
    half, final = (figures[horizon.value] for horizon in (Horizon.HALFTIME, Horizon.FINAL))
    at_18, overall, late = half["minute"][MINUTE], final["all"]["all"], final["late"][LATE_NAME]
    from_18, end = f"halftime from minute {MINUTE}", "final, all minutes"
    return (
        _relative(at_18, _Aim(f"{from_18}: CRPS", "crps", "linear", -0.002, 0.0)),
        _relative(overall, _Aim(f"{end}: CRPS", "crps", "linear", -0.0025, 0.0)),
        _relative(late, _Aim(f"final, minutes {LATE_NAME}: CRPS", "crps", "linear", -0.007)),
        _relative(overall, _Aim("winner, all minutes: Brier score", "brier", "logistic", -0.0025, 0.001)),
        _relative(late, _Aim(f"winner, minutes {LATE_NAME}: Brier score", "brier", "logistic", 0.0)),
        _calibration_error(overall),
        _relative(at_18, _Aim(f"{from_18}: Winkler score at 95 %", "winkler_95", "linear", 0.0)),
        _relative(overall, _Aim(f"{end}: Winkler score at 95 %", "winkler_95", "linear", -0.005)),
        *_seasons([each for each in seasons if each.forecaster == "served"]),
        groups_check([group for group in groups if group.forecaster == "served"]),
    )


def missed(checks: Sequence[Check]) -> str:
    """Return a sentence with the number of reached aims and the names of the others."""
    names = [check.name for check in checks if not check.passed]
    reached = f"{len(checks) - len(names)} of {len(checks)} are reached"
    return f"{reached}; not reached: {'; '.join(names)}." if names else f"{reached}."


def _relative(group: GroupMetrics, aim: _Aim) -> Check:
    ratio = group.relative["served"].get(aim.reference, {}).get(aim.metric)
    promise = f"at most {aim.most:+.2%}" if aim.most else "at most 0"
    if aim.most_upper is not None:
        promise += (
            f", upper end of the 95 % interval {f'at most {aim.most_upper:+.1%}' if aim.most_upper else 'below 0'}"
        )
    passed = ratio is not None and ratio.value <= aim.most
    if ratio is not None and aim.most_upper is not None:
        passed = passed and (ratio.upper <= aim.most_upper if aim.most_upper else ratio.upper < 0)
    name = f"{aim.name} relative to the {'linear model' if aim.reference == 'linear' else 'logistic regression'}"
    return Check(name, promise, "too few games" if ratio is None else f"{ratio:+.2%}", passed)


def _calibration_error(group: GroupMetrics) -> Check:
    error = group.values["served"]["ece"]
    return Check(
        name="winner, all minutes: expected calibration error",
        promise=f"at most {CALIBRATION_ERROR:.3f}",
        found=f"{error:.4f}",
        passed=error.value <= CALIBRATION_ERROR,
    )


def _seasons(seasons: Sequence[SeasonCoverage]) -> Iterator[Check]:
    for each in seasons:
        if each.horizon != Horizon.FINAL.value:
            continue
        name = f"coverage at {each.level} %, {series_name(each.forecaster, each.horizon)}"
        if each.level == SPREAD[0]:
            yield Check(
                name=f"{name}: standard deviation between seasons",
                promise=f"at most {100 * SPREAD[1]:.1f} points",
                found=f"{100 * each.spread:.2f} points; {100 * each.chance:.2f} by chance alone",
                passed=each.spread <= SPREAD[1],
            )
        yield Check(
            name=f"{name}: each season",
            promise="each season's 99 % interval contains the expected coverage",
            found=", ".join(
                f"{season}: {100 * found.value:.1f}{' ✗' if season in each.excluded else ''}"
                for season, found in each.seasons.items()
            ),
            passed=not each.excluded,
        )


_TOTAL_RIVALS: Final = {
    SERVED[0]: {"pace": "pace × time", "season_mean": "the season's mean"},
    LINE: {SERVED[0]: "totals by ratings", LINE_RATE: "the line's rate"},
}
_TOTAL_NAMES: Final = {SERVED[0]: "total points", LINE: "total points with the line"}


def total_checks(figures: MetricsByForecaster, scores: TotalScores) -> tuple[Check, ...]:
    """Return the acceptance checks on forecasts of the final total from the half, with known teams and with the line.

    Args:
        figures: metrics of the scores (`compute_total_metrics`).
        scores: pooled folds.
    """
    minute = main_minute(Horizon.FINAL)
    group = figures[Horizon.FINAL.value]["minute"][f"{minute}"]
    result: list[Check] = []
    for forecaster, rivals in _TOTAL_RIVALS.items():
        if forecaster in scores.forecasts:
            name = f"{_TOTAL_NAMES[forecaster]}, final from minute {minute}"
            for rival, label in rivals.items():
                result.append(_below(group, f"{name}: CRPS relative to {label}", forecaster, rival))
            result += [_covers(scores, forecaster, name, minute, level) for level in LEVELS]
    return tuple(result)


def _below(group: GroupMetrics, name: str, forecaster: str, rival: str) -> Check:
    ratio = group.relative[forecaster].get(rival, {}).get("crps")
    return Check(
        name=name,
        promise="95 % interval below 0",
        found="too few games" if ratio is None else f"{ratio.scaled(100):+.2f} %",
        passed=ratio is not None and ratio.upper < 0,
    )


def _covers(scores: TotalScores, forecaster: str, name: str, minute: int, level: int) -> Check:
    shares = season_shares(scores, forecaster, Horizon.FINAL, minute, level)
    excluded = {season for season, found in shares.items() if abs(found.share - level / 100) > found.reach}
    return Check(
        name=f"{name}: coverage at {level} %, each season",
        promise=f"each season's {100 * LEVEL:g} % interval contains {level} %",
        found=", ".join(
            f"{season}: {100 * found.share:.1f}{' ✗' if season in excluded else ''}" for season, found in shares.items()
        ),
        passed=not excluded,
    )


_MOST_ECE: Final = 0.02
_COVERAGE_REACH: Final = 0.02


def moment_checks(figures: MomentFigures) -> tuple[Check, ...]:
    """Return the acceptance checks on forecasts of the winner at moments."""
    bands = figures[Horizon.FINAL.value]
    checks = []
    if (late := bands.get("44:00–48:00")) is not None:
        for name, found in (("Brier score", late.brier_difference), ("log loss", late.log_loss_difference)):
            title = f"winner at moments from 44:00: {name} relative to the logistic regression"
            checks.append(Check(title, "95 % interval below 0", f"{found.scaled(100):+.2f} %", found.upper < 0))
    if (last := bands.get("last minute")) is not None:
        name, passed = "winner, last minute: calibration error", last.ece <= _MOST_ECE
        checks.append(Check(name, f"at most {_MOST_ECE:g}", f"{last.ece:.4f}", passed))
    if (overtime := bands.get(OVERTIME)) is not None:
        name, found = "winner in overtime: Brier score relative to the logistic regression", overtime.brier_difference
        checks.append(Check(name, "95 % interval not above 0", f"{found.scaled(100):+.2f} %", found.lower <= 0))
        name, share, reach = "final in overtime: coverage at 95 %", overtime.coverage["95"], _COVERAGE_REACH
        passed = abs(share.value - 0.95) <= reach
        checks.append(Check(name, f"within {100 * reach:g} points", f"{share.scaled(100):.1f} %", passed))
    return tuple(checks)
