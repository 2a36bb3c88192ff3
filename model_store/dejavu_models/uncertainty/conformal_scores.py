"""Residuals of calibration games as quantiles, by level or by standard-normal score (conformal.py has the method)."""

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
    """Places in a distribution, by standard-normal scores: ascending, and as far from 0 below it as above."""

    def __init__(self, scores: Sequence[float]) -> None:
        self.scores = np.array(scores)
        self.lower = self.scores < 0
        self.tails = np.array([NORMAL.cdf(-abs(score)) for score in scores])  # the share beyond each, up to ½


LEVEL_GRID: Final = ScoreGrid(LEVEL_SCORES)
"""The grid of DISTRIBUTION_LEVELS."""


@dataclass(frozen=True)
class ConformalScores:
    """Residuals of calibration games, ascending.

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
        """How many games they come from."""
        return len(self.residuals)

    def _rank(self, level: float) -> int:
        """Which smallest residual is the quantile for a level up to ½, from 1 on; 0 if the level is too small."""
        # Levels such as 1 − 0.9 fall short of what they mean by rounding.
        return math.floor((self.games + 1) * level + _ROUNDING)

    @cached_property
    def smallest_level(self) -> float:
        """The smallest level for which there is a quantile; ½ with a single residual."""
        return 1 / (self.games + 1)

    def quantile(self, level: float) -> float:
        """The quantile of the residuals, rounded outwards: away from the median; never falls as the level rises.

        Args:
            level: from `smallest_level` to 1 less that.

        Raises:
            ValueError: if the level is nearer to 0 or 1.
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
        """The level beyond which places go on in proportion: the outermost that forecasts record, if it is known."""
        return max(self.smallest_level, DISTRIBUTION_LEVELS[0])

    @cached_property
    def _reach(self) -> float:
        """The score of that level; 0 with a single residual."""
        return -NORMAL.inv_cdf(self._tail)

    def value_at(self, score: float) -> float:
        """The quantile at the level of a standard-normal score; never falls as that rises.

        Beyond the outermost level that a forecast records, or for which there is a quantile, it goes on in proportion:
        at twice its score, twice as far from the median. That is how `adaptive.static_score` judges outcomes out there,
        so that an interval that outcomes have taught to reach so far is the one that they were held against. What few
        residuals lie beyond would tell another tale, and none of the games that intervals are widened for.
        """
        if -self._reach <= score <= self._reach:
            return self.quantile(NORMAL.cdf(score))
        lower, median, upper = self._ends
        end = lower if score < 0 else upper
        return median + (end - median) * (abs(score) / self._reach if self._reach else 1.0)

    @cached_property
    def _ends(self) -> tuple[float, float, float]:
        """The quantiles at the level beyond which places go on in proportion, and the median between them."""
        rank = self._rank(self._tail)
        return float(self.residuals[rank - 1]), self.quantile(0.5), float(self.residuals[-rank])

    def values_at(self, places: ScoreGrid) -> Floats:
        """As `value_at`, for many scores, (n,), none of them 0."""
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
        """The share of residuals above each value, those equal to it counted half.

        Smoothed as a conformal p-value is, with the game to come as one more residual, half above and half below; so it
        is never 0 or 1.

        Args:
            needed: (n,), in points.

        Returns:
            (n,), in (0, 1).
        """
        not_above = self.residuals.searchsorted(needed, side="left") + self.residuals.searchsorted(needed, side="right")
        return (self.games + 0.5 - not_above / 2) / (self.games + 1)

    def share_above_one(self, needed: float) -> float:
        """As `share_above`, for one value."""
        not_above = self.residuals.searchsorted(needed, side="left") + self.residuals.searchsorted(needed, side="right")
        return (self.games + 0.5 - float(not_above) / 2) / (self.games + 1)
