"""Maps from nominal to adapted standard-normal scores."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from statistics import NormalDist
from typing import Final

from dejavu_models.uncertainty.normal_scores import LEVEL_SCORES, ScoreGrid

TARGETS: Final = (0.5, 0.2, 0.1, 0.05, 0.02)
"""Tracked miscoverage rates."""

MAX_SCORE: Final = 6.0
"""Bound of standard-normal scores: |score| exceeds it in one game in half a billion."""

_NORMAL = NormalDist()
KNOTS: Final = tuple(_NORMAL.inv_cdf(1 - target / 2) for target in TARGETS)
"""The standard-normal scores at which central intervals of TARGETS end."""

_MIN_SLOPE = 0.01
"""Minimum slope of a score map, which must be invertible."""


class ScoreMap:
    """Monotone, odd map from nominal to adapted standard-normal scores.

    Piecewise linear through 0 and the tracked targets; proportional beyond the outermost target.

    Args:
        radii: score at which intervals end for each of TARGETS, at least 0. A radius smaller than that of a less
            strict target is raised.
    """

    def __init__(self, radii: Sequence[float]) -> None:
        self.radii = make_nested(radii)
        self._from = (0.0, *KNOTS, 2 * KNOTS[-1])
        self._to = (0.0, *self.radii, 2 * self.radii[-1])

    @cached_property
    def distribution(self) -> tuple[float, ...]:
        """Adapted scores of the quantiles at DISTRIBUTION_LEVELS, in the model's own distribution, to 6 decimals."""
        return tuple(round(self(score), 6) for score in LEVEL_SCORES)

    @cached_property
    def grid(self) -> ScoreGrid:
        """The scores of `distribution`, as a grid."""
        return ScoreGrid(self.distribution)

    def __call__(self, score: float) -> float:
        """Return the adapted score, in the model's own distribution."""
        return _interpolate(score, self._from, self._to)

    def inverse(self, score: float) -> float:
        """Return the nominal score of a score in the model's own distribution, within ±MAX_SCORE."""
        return max(-MAX_SCORE, min(MAX_SCORE, _interpolate(score, self._to, self._from)))


def make_nested(radii: Sequence[float]) -> tuple[float, ...]:
    """Return the radii of TARGETS, each raised if needed to exceed the previous one."""
    result: list[float] = []
    knot = radius = 0.0
    for next_knot, requested in zip(KNOTS, radii, strict=True):
        radius = max(requested, radius + _MIN_SLOPE * (next_knot - knot))
        knot = next_knot
        result.append(radius)
    return tuple(result)


def _interpolate(value: float, start: Sequence[float], end: Sequence[float]) -> float:
    """Evaluate an odd, piecewise linear map through ascending points; extrapolates beyond the last."""
    size = abs(value)
    index = min(bisect_right(start, size), len(start) - 1)
    slope = (end[index] - end[index - 1]) / (start[index] - start[index - 1])
    return math.copysign(end[index - 1] + slope * (size - start[index - 1]), value)
