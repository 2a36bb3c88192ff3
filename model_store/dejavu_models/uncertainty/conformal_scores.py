"""Quantiles of calibration residuals, by level or by standard-normal score (see conformal.py for the method)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.types import DISTRIBUTION_LEVELS

_ROUNDING = 1e-9

NORMAL: Final = NormalDist()
"""The standard normal distribution."""

LEVEL_SCORES: Final = tuple(NORMAL.inv_cdf(level) for level in DISTRIBUTION_LEVELS)
"""The standard-normal scores of DISTRIBUTION_LEVELS."""


class ScoreGrid:
    """Grid of standard-normal scores at which a distribution is evaluated: ascending and symmetric around 0."""

    def __init__(self, scores: Sequence[float]) -> None:
        self.scores = np.array(scores)
        self.lower = self.scores < 0
        # Tail probability beyond each score, at most ½.
        self.tails = np.array([NORMAL.cdf(-abs(score)) for score in scores])


LEVEL_GRID: Final = ScoreGrid(LEVEL_SCORES)
"""Grid of DISTRIBUTION_LEVELS."""


@dataclass(frozen=True)
class ConformalScores:
    """Residuals of calibration games, in ascending order.

    Raises:
        ValueError: if there are none, or they are not finite and ascending.
    """

    residuals: Floats

    def __post_init__(self) -> None:
        values = self.residuals
        if values.ndim != 1 or not len(values) or values.dtype != np.float64:
            raise ValueError("residuals must be a non-empty vector of float64")
        if not np.isfinite(values).all() or (np.diff(values) < 0).any():
            raise ValueError("residuals must be finite and ascending")

    @property
    def games(self) -> int:
        """Number of calibration games."""
        return len(self.residuals)

    def _rank(self, level: float) -> int:
        """Return the rank of the quantile of a level up to ½, from 1; 0 if the level is too small."""
        # _ROUNDING: levels such as 1 − 0.9 are slightly too small by floating-point rounding.
        return math.floor((self.games + 1) * level + _ROUNDING)

    @cached_property
    def smallest_level(self) -> float:
        """Smallest level that has a quantile; ½ with a single residual."""
        return 1 / (self.games + 1)

    def quantile(self, level: float) -> float:
        """Return the quantile of the residuals, rounded away from the median; non-decreasing in the level.

        Args:
            level: in [smallest_level, 1 − smallest_level].

        Raises:
            ValueError: if the level is outside.
        """
        rank = self._rank(min(level, 1 - level))
        if rank < 1:
            raise ValueError(f"level {level} is not in [{self.smallest_level}, {1 - self.smallest_level}]")
        if level < 0.5:
            return float(self.residuals[rank - 1])
        if level > 0.5:
            return float(self.residuals[-rank])
        return float(self.residuals[rank - 1] + self.residuals[-rank]) / 2

    @cached_property
    def _tail(self) -> float:
        """Level beyond which quantiles are extrapolated: the outermost recorded level, if it has a quantile."""
        return max(self.smallest_level, DISTRIBUTION_LEVELS[0])

    @cached_property
    def _reach(self) -> float:
        """Absolute score of the level `_tail`; 0 with a single residual."""
        return -NORMAL.inv_cdf(self._tail)

    def value_at(self, score: float) -> float:
        """Return the quantile at the level of a standard-normal score; non-decreasing in the score.

        Beyond the outermost level that is recorded and has a quantile, extrapolates in proportion: twice the score is
        twice as far from the median. `adaptive.static_score` scores outcomes in the same way, so the adapted intervals
        agree with the scores that the tracker gets. The few residuals beyond that level are not used: they would
        disagree with these scores, and tell nothing about the games for which intervals are widened.
        """
        if -self._reach <= score <= self._reach:
            return self.quantile(NORMAL.cdf(score))
        lower, median, upper = self._ends
        end = lower if score < 0 else upper
        return median + (end - median) * (abs(score) / self._reach if self._reach else 1.0)

    @cached_property
    def _ends(self) -> tuple[float, float, float]:
        """Return the lower quantile at the extrapolation level, the median, and the upper quantile."""
        rank = self._rank(self._tail)
        return float(self.residuals[rank - 1]), self.quantile(0.5), float(self.residuals[-rank])

    def values_at(self, places: ScoreGrid) -> Floats:
        """Like `value_at`, for a grid of n scores, none of them 0: (n,)."""
        ranks = np.maximum(1, ((self.games + 1) * places.tails + _ROUNDING).astype(np.int64))
        values: Floats = self.residuals[np.where(places.lower, ranks - 1, -ranks)]
        sizes = np.abs(places.scores)
        beyond = sizes > self._reach
        if beyond.any() and self._reach:
            lower, median, upper = self._ends
            ends = np.where(places.lower[beyond], lower, upper)
            values[beyond] = median + (ends - median) * (sizes[beyond] / self._reach)
        return values

    @cached_property
    def at_levels(self) -> Floats:
        """The quantiles at DISTRIBUTION_LEVELS."""
        return self.values_at(LEVEL_GRID)

    def share_above(self, needed: Floats) -> Floats:
        """Return the share of residuals above each value, counting ties as half.

        Smoothed like a conformal p-value: the next game counts as one more residual, half above and half below, so the
        share is never 0 or 1.

        Args:
            needed: (n,), in points.

        Returns:
            (n,), in (0, 1).
        """
        not_above = self.residuals.searchsorted(needed, side="left") + self.residuals.searchsorted(needed, side="right")
        return (self.games + 0.5 - not_above / 2) / (self.games + 1)

    def share_above_one(self, needed: float) -> float:
        """Like `share_above`, for one value."""
        not_above = self.residuals.searchsorted(needed, side="left") + self.residuals.searchsorted(needed, side="right")
        return (self.games + 0.5 - float(not_above) / 2) / (self.games + 1)
