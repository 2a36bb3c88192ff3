"""Scores of forecasts of total points, with those of pace × time on the same forecasts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.metrics import ratio_interval
from dejavu_models.scorecard.estimates import Coverage, ScoreEstimate, Units, coverages, estimate
from dejavu_models.scorecard.settled import SettledForecasts

_NO_SPREAD: Final = 1e-12
"""Residuals of games that differ by less than this, in points, are equal except for rounding."""


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
    intervals = replace(settled, covered=settled.total_covered, width=settled.total_width)
    return TotalScorecard(
        games=len(units.minutes),
        forecasts=len(settled),
        mae=estimate(absolute, least=0.0),
        pace_mae=estimate(pace, least=0.0),
        mae_difference=estimate(absolute - pace),
        relative_difference=_relative(absolute - pace, pace),
        crps=estimate(units.means(settled.total_crps), least=0.0),
        coverage=tuple(coverages(intervals)),
    )


def _relative(difference: Floats, rival: Floats) -> ScoreEstimate | None:
    """Return the ratio of two means over games, with its interval (`metrics.ratio_interval`, as for returns on stakes).

    Args:
        difference: (games,), numerators.
        rival: (games,), denominators, 0 or above.
    """
    games, of_rival = len(rival), float(rival.sum())
    if of_rival == 0.0:
        return None
    ratio = float(difference.sum()) / of_rival
    if float(np.ptp(difference - ratio * rival)) <= _NO_SPREAD:
        return ScoreEstimate(ratio, games)
    with np.errstate(divide="ignore", invalid="ignore"):  # pace × time may meet the total of a game exactly
        return ScoreEstimate(ratio, games, *ratio_interval(difference, rival, least=-1.0))
