"""Acceptance checks on the totals of a walk-forward: aims, which do not decide the verdict."""

from __future__ import annotations

from typing import Final

from dejavu_models.types import Horizon
from dejavu_trainer.evaluation.checks import Check
from dejavu_trainer.evaluation.coverage import LEVEL
from dejavu_trainer.evaluation.metrics import LEVELS, GroupMetrics, MetricsByForecaster
from dejavu_trainer.evaluation.totals.fold import SERVED
from dejavu_trainer.evaluation.totals.metrics import main_minute, season_shares
from dejavu_trainer.evaluation.totals.scores import TotalScores

_RIVALS: Final = {"pace": "pace × time", "season_mean": "the season's mean"}


def total_checks(figures: MetricsByForecaster, scores: TotalScores) -> tuple[Check, ...]:
    """Return the acceptance checks on forecasts of the final total, with known teams, from the half.

    Args:
        figures: metrics of the scores (`compute_total_metrics`).
        scores: pooled folds.
    """
    minute = main_minute(Horizon.FINAL)
    group = figures[Horizon.FINAL.value]["minute"][f"{minute}"]
    name = f"total points, final from minute {minute}"
    return (
        *(_below(group, f"{name}: CRPS relative to {label}", rival) for rival, label in _RIVALS.items()),
        *(_covers(scores, name, minute, level) for level in LEVELS),
    )


def _below(group: GroupMetrics, name: str, rival: str) -> Check:
    ratio = group.relative[SERVED[0]].get(rival, {}).get("crps")
    return Check(
        name=name,
        promise="95 % interval below 0",
        found="too few games" if ratio is None else f"{ratio.scaled(100):+.2f} %",
        passed=ratio is not None and ratio.upper < 0,
    )


def _covers(scores: TotalScores, name: str, minute: int, level: int) -> Check:
    shares = season_shares(scores, Horizon.FINAL, minute, level)
    excluded = {season for season, found in shares.items() if abs(found.share - level / 100) > found.reach}
    return Check(
        name=f"{name}: coverage at {level} %, each season",
        promise=f"each season's {100 * LEVEL:g} % interval contains {level} %",
        found=", ".join(
            f"{season}: {100 * found.share:.1f}{' ✗' if season in excluded else ''}" for season, found in shares.items()
        ),
        passed=not excluded,
    )
