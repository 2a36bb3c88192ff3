"""Acceptance checks on the totals of a walk-forward: aims, which do not decide the verdict."""

from __future__ import annotations

from typing import Final

from dejavu_models.types import Horizon
from dejavu_trainer.evaluation.checks import Check
from dejavu_trainer.evaluation.coverage import LEVEL
from dejavu_trainer.evaluation.metrics import LEVELS, GroupMetrics, MetricsByForecaster
from dejavu_trainer.evaluation.totals.fold import LINE, LINE_RATE, SERVED
from dejavu_trainer.evaluation.totals.metrics import main_minute, season_shares
from dejavu_trainer.evaluation.totals.scores import TotalScores

_RIVALS: Final = {
    SERVED[0]: {"pace": "pace × time", "season_mean": "the season's mean"},
    LINE: {SERVED[0]: "totals by ratings", LINE_RATE: "the line's rate"},
}
_NAMES: Final = {SERVED[0]: "total points", LINE: "total points with the line"}


def total_checks(figures: MetricsByForecaster, scores: TotalScores) -> tuple[Check, ...]:
    """Return the acceptance checks on forecasts of the final total from the half, with known teams and with the line.

    Args:
        figures: metrics of the scores (`compute_total_metrics`).
        scores: pooled folds.
    """
    minute = main_minute(Horizon.FINAL)
    group = figures[Horizon.FINAL.value]["minute"][f"{minute}"]
    result: list[Check] = []
    for forecaster, rivals in _RIVALS.items():
        if forecaster in scores.forecasts:
            name = f"{_NAMES[forecaster]}, final from minute {minute}"
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
