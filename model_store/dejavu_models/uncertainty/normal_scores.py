"""Standard-normal scores of levels, at which distributions are evaluated and adapted."""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist
from typing import Final

from dejavu_models.types import DISTRIBUTION_LEVELS

NORMAL: Final = NormalDist()
"""The standard normal distribution."""

LEVEL_SCORES: Final = tuple(NORMAL.inv_cdf(level) for level in DISTRIBUTION_LEVELS)
"""The standard-normal scores of DISTRIBUTION_LEVELS."""

MAX_SCORE: Final = 6.0
"""Bound of standard-normal scores: |score| exceeds it in one game in half a billion."""


def radius_of_alpha(alpha: float) -> float:
    """Return the standard-normal score at which a central interval with miscoverage `alpha` ends."""
    return -NORMAL.inv_cdf(alpha / 2)


@lru_cache(maxsize=64)
def scaled_scores(factor: float) -> tuple[float, ...]:
    """Return LEVEL_SCORES times a factor, to 6 decimals. A server uses one per horizon, and a new one per outcome."""
    return tuple(round(factor * score, 6) for score in LEVEL_SCORES)
