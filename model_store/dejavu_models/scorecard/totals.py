"""Scores of forecasts of total points, with those of pace × time on the same forecasts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dejavu_models.scorecard.estimates import Coverage, ScoreEstimate, Units, coverages, estimate, ratio_estimate
from dejavu_models.scorecard.settled import SettledForecasts


@dataclass(frozen=True, slots=True)
class TotalScorecard:
    """Metrics of the forecasts whose total is settled; the game is the unit, as in `Scorecard`.

    Attributes:
        games, forecasts: their numbers.
        mae, pace_mae, mae_difference: mean absolute error, that of pace × time on the same forecasts, and the paired
            difference of the two, in points.
        relative_difference: mae_difference / pace_mae; None if pace × time had no error.
        crps: in points.
        coverage: by alpha, ascending.
    """

    games: int
    forecasts: int
    mae: ScoreEstimate
    pace_mae: ScoreEstimate
    mae_difference: ScoreEstimate
    relative_difference: ScoreEstimate | None
    crps: ScoreEstimate
    coverage: tuple[Coverage, ...]


def total_scorecard(settled: SettledForecasts) -> TotalScorecard | None:
    """Compute the scorecard of totals of forecasts that count; None if none has a settled total."""
    has_total = ~np.isnan(settled.total_error)
    if not has_total.any():
        return None
    settled = settled.where(has_total)
    units = Units.of(settled.game, settled.minute)
    absolute, pace = (units.means(np.abs(each)) for each in (settled.total_error, settled.total_pace_error))
    intervals = coverages(settled.alpha, settled.game, settled.minute, settled.total_covered, settled.total_width)
    return TotalScorecard(
        games=len(units.minutes),
        forecasts=len(settled),
        mae=estimate(absolute, least=0.0),
        pace_mae=estimate(pace, least=0.0),
        mae_difference=estimate(absolute - pace),
        relative_difference=ratio_estimate(absolute - pace, pace) if pace.any() else None,
        crps=estimate(units.means(settled.total_crps), least=0.0),
        coverage=tuple(intervals),
    )
