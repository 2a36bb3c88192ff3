"""Distribution of one game's differential: the source of a forecast, with either kind of calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dejavu_models.types import Interval
from dejavu_models.uncertainty.conformal import PredictiveDistribution
from dejavu_models.uncertainty.conformal_scores import ScoreGrid


class GameDistribution(Protocol):
    """Distribution of the differential of one game at a horizon, around its point forecast."""

    @property
    def calibration_games(self) -> int:
        """Number of calibration games behind it."""

    @property
    def home_lead_probability(self) -> float:
        """P(the home team leads), in (0, 1)."""

    def interval(self, alpha: float) -> Interval:
        """Return the interval at a miscoverage rate; nested in alpha, and widened to contain the point forecast.

        Raises:
            ValueError: if alpha is less than the calibration allows or not less than 1.
        """

    def interval_at(self, reach: float) -> Interval:
        """Like `interval`, but between the quantiles at standard-normal scores of ±reach, for any reach."""

    def quantiles(self, levels: Sequence[float]) -> list[float]:
        """Return quantiles, in points, in the order of the levels; non-decreasing in the level.

        Raises:
            ValueError: if a level is closer to 0 or 1 than the calibration allows.
        """

    def values_at(self, scores: Sequence[float]) -> list[float]:
        """Return quantiles at the levels of standard-normal scores, in points.

        Beyond the outermost level of `types.DISTRIBUTION_LEVELS`, extrapolates in proportion to the score, as
        `adaptive.static_score` does.
        """

    def recorded_quantiles(self, grid: ScoreGrid | None) -> tuple[float, ...]:
        """Return quantiles on a score grid, None for `types.DISTRIBUTION_LEVELS`; rounded to 0.001 points."""

    def probability_above(self, value: float) -> float:
        """Return P(differential > value), in (0, 1); non-increasing in value."""


class ConformalGame:
    """Split-conformal distribution of one game; see `PredictiveDistribution`.

    Args:
        distribution: distribution of the horizon and minute.
        point: point forecast, in points.
        lead: last known differential, in points.
    """

    def __init__(self, distribution: PredictiveDistribution, point: float, lead: float) -> None:
        self._distribution = distribution
        self._point = point
        self._lead = lead

    @property
    def calibration_games(self) -> int:
        """Number of calibration games in the cell of the lead."""
        return self._distribution.scores(self._lead).games

    @property
    def home_lead_probability(self) -> float:
        """See `PredictiveDistribution.home_lead_probability`."""
        return self._distribution.home_lead_probability_of(self._point, self._lead)

    def interval(self, alpha: float) -> Interval:
        """See `PredictiveDistribution.interval`."""
        return self._distribution.interval(self._point, self._lead, alpha)

    def interval_at(self, reach: float) -> Interval:
        """See `PredictiveDistribution.interval_at`."""
        return self._distribution.interval_at(self._point, self._lead, reach)

    def quantiles(self, levels: Sequence[float]) -> list[float]:
        """See `PredictiveDistribution.quantiles`."""
        return self._distribution.quantiles(self._point, self._lead, levels)

    def values_at(self, scores: Sequence[float]) -> list[float]:
        """See `PredictiveDistribution.values_at`."""
        return self._distribution.values_at(self._point, self._lead, scores)

    def recorded_quantiles(self, grid: ScoreGrid | None) -> tuple[float, ...]:
        """See `PredictiveDistribution.recorded_quantiles`."""
        return self._distribution.recorded_quantiles(self._point, self._lead, grid)

    def probability_above(self, value: float) -> float:
        """See `PredictiveDistribution.probability_above`."""
        return self._distribution.probability_above(self._point, self._lead, value)
