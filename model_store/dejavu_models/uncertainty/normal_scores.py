"""Standard-normal scores of levels, at which distributions are evaluated and adapted."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from statistics import NormalDist
from typing import Final

from dejavu_models.types import DISTRIBUTION_LEVELS

NORMAL: Final = NormalDist()
"""The standard normal distribution."""

LEVEL_SCORES: Final = tuple(NORMAL.inv_cdf(level) for level in DISTRIBUTION_LEVELS)
"""The standard-normal scores of DISTRIBUTION_LEVELS."""

MAX_SCORE: Final = 6.0
"""Bound of standard-normal scores: |score| exceeds it in one game in half a billion."""

_KNOTS: Final = tuple(NORMAL.inv_cdf(1 - alpha / 2) for alpha in (0.5, 0.2, 0.1, 0.05, 0.02))
_POINTS: Final = (0.0, *_KNOTS, 2 * _KNOTS[-1])
"""Scores that a map multiplies; it is linear between and beyond them. A plain product would differ in the last bit."""


def radius_of_alpha(alpha: float) -> float:
    """Return the standard-normal score at which a central interval with miscoverage `alpha` ends."""
    return -NORMAL.inv_cdf(alpha / 2)


class ScoreMap:
    """Map from nominal to adapted standard-normal scores: multiplies them.

    Args:
        factor: factor of the season, above 0.
        widening: further factor, above 0.
    """

    def __init__(self, factor: float, widening: float = 1.0) -> None:
        self.factor = factor
        self._adapted = tuple(widening * (factor * score) for score in _POINTS)

    @cached_property
    def distribution(self) -> tuple[float, ...]:
        """Adapted scores of the quantiles at DISTRIBUTION_LEVELS, in the model's own distribution, to 6 decimals."""
        return tuple(round(self(score), 6) for score in LEVEL_SCORES)

    def __call__(self, score: float) -> float:
        """Return the adapted score, in the model's own distribution."""
        return _interpolate(score, _POINTS, self._adapted)

    def inverse(self, score: float) -> float:
        """Return the nominal score of a score in the model's own distribution, within ±MAX_SCORE."""
        return max(-MAX_SCORE, min(MAX_SCORE, _interpolate(score, self._adapted, _POINTS)))


def _interpolate(value: float, start: Sequence[float], end: Sequence[float]) -> float:
    """Evaluate an odd, piecewise linear map through ascending points; extrapolates beyond the last."""
    size = abs(value)
    index = min(bisect_right(start, size), len(start) - 1)
    slope = (end[index] - end[index - 1]) / (start[index] - start[index - 1])
    return math.copysign(end[index - 1] + slope * (size - start[index - 1]), value)
