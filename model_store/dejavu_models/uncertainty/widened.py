"""Distribution of a game whose teams are less well known than those of the games behind the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from dejavu_models.types import DISTRIBUTION_LEVELS, Interval
from dejavu_models.uncertainty.conformal_scores import LEVEL_SCORES, NORMAL, ScoreGrid
from dejavu_models.uncertainty.game_distribution import GameDistribution

_REACH: Final = -LEVEL_SCORES[0]
_SPREAD_AT: Final = NORMAL.inv_cdf(0.9)
_LEAST_SPREAD: Final = 1.0
"""In points: in the last minutes, most of a distribution may lie on one whole number."""


def widened(game: GameDistribution, variance: float, smallest_alpha: float) -> GameDistribution:
    """Returns a distribution with a variance added to its spread; itself if there is none to add.

    Args:
        game: distribution of a game.
        variance: variance to add, in points squared.
        smallest_alpha: the smallest miscoverage rate that `game` has an interval for.
    """
    if variance <= 0.0:
        return game
    lower, upper = game.values_at((-_SPREAD_AT, _SPREAD_AT))
    spread = max((upper - lower) / (2 * _SPREAD_AT), _LEAST_SPREAD)
    return WidenedGame(game, math.sqrt(1.0 + variance / spread**2), smallest_alpha / 2)


class WidenedGame:
    """A distribution whose standard-normal scores are multiplied; implements `GameDistribution`.

    Its quantile at a score is that of the other at the score times the factor, as where the factor of a season widens
    it. So the median stays, whole numbers stay whole, and the other engine gives the same numbers.

    Args:
        game: the other distribution.
        factor: at least 1.
        least: lowest level at which the other has a quantile; what lies beyond has that one.
    """

    def __init__(self, game: GameDistribution, factor: float, least: float) -> None:
        self._game, self._factor, self._least = game, factor, least

    @property
    def calibration_games(self) -> int:
        """Number of calibration games behind it."""
        return self._game.calibration_games

    @property
    def home_lead_probability(self) -> float:
        """P(the home team leads), in (0, 1)."""
        return self._nearer_to_even(self._game.home_lead_probability)

    def interval(self, alpha: float) -> Interval:
        """See `GameDistribution.interval`."""
        inner = self._game.interval(alpha)  # contains the point forecast
        lower, upper = self.quantiles((alpha / 2, 1 - alpha / 2))
        return Interval(min(inner.lower, lower), max(inner.upper, upper))

    def interval_at(self, reach: float) -> Interval:
        """See `GameDistribution.interval_at`."""
        inner = self._game.interval_at(reach)
        lower, upper = self.values_at((-reach, reach))
        return Interval(min(inner.lower, lower), max(inner.upper, upper))

    def quantiles(self, levels: Sequence[float]) -> list[float]:
        """See `GameDistribution.quantiles`."""
        return self._at([NORMAL.inv_cdf(level) for level in levels])

    def values_at(self, scores: Sequence[float]) -> list[float]:
        """See `GameDistribution.values_at`."""
        return [self._extrapolated(score) if abs(score) > _REACH else self._at((score,))[0] for score in scores]

    def recorded_quantiles(self, grid: ScoreGrid | None) -> tuple[float, ...]:
        """See `GameDistribution.recorded_quantiles`."""
        values = self.quantiles(DISTRIBUTION_LEVELS) if grid is None else self.values_at(grid.scores.tolist())
        return tuple(round(value, 3) for value in values)

    def probability_above(self, value: float) -> float:
        """See `GameDistribution.probability_above`."""
        return self._nearer_to_even(self._game.probability_above(value))

    def _at(self, scores: Sequence[float]) -> list[float]:
        levels = (NORMAL.cdf(self._factor * score) for score in scores)
        return self._game.quantiles([min(max(level, self._least), 1 - self._least) for level in levels])

    def _extrapolated(self, score: float) -> float:
        """Returns the value that is as many times as far from the median as the score is from 0."""
        median, end = self._at((0.0, math.copysign(_REACH, score)))
        value = median + (end - median) * abs(score) / _REACH
        if not (median.is_integer() and end.is_integer()):
            return value
        return float(math.floor(value) if score < 0 else math.ceil(value))

    def _nearer_to_even(self, probability: float) -> float:
        return NORMAL.cdf(NORMAL.inv_cdf(probability) / self._factor)
