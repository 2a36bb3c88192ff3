"""Intervals that follow what outcomes teach."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

from dejavu_models.types import DISTRIBUTION_LEVELS

WIDEST: Final = 6.0
"""The furthest standard-normal score told apart: beyond it lies one game in half a billion."""

_NORMAL = NormalDist()
_LEVEL_SCORES: Final = tuple(_NORMAL.inv_cdf(level) for level in DISTRIBUTION_LEVELS)
_MIDDLE = len(DISTRIBUTION_LEVELS) // 2
_DIGITS = 9
"""Decimals that states are kept to, so that libraries that differ in the last bit of a logarithm lead to the same."""


def static_score(distribution: Sequence[float], static_scores: Sequence[float], outcome: float) -> float:
    """Where an outcome lies in a recorded forecast, as the model was calibrated: a standard-normal score.

    Linear between the recorded quantiles, and beyond them in proportion to the distance from the median. On several
    equal ones it is the middle of theirs.

    Args:
        distribution: quantiles at DISTRIBUTION_LEVELS, in points, ascending.
        static_scores: of those quantiles, ascending; empty: those of the levels.
        outcome: the differential that came, in points.

    Returns:
        The score, within ±WIDEST; standard normal over games while the calibration holds.

    Raises:
        ValueError: if there is not one quantile for each level, or another number of scores.
    """
    scores = static_scores or _LEVEL_SCORES
    if not len(distribution) == len(scores) == len(DISTRIBUTION_LEVELS):
        raise ValueError(f"{len(distribution)} quantiles, {len(scores)} scores; expected {len(DISTRIBUTION_LEVELS)}")
    below, not_above = bisect_left(distribution, outcome), bisect_right(distribution, outcome)
    if below < not_above:
        score = (scores[below] + scores[not_above - 1]) / 2
    elif 0 < below < len(distribution):
        left, right = distribution[below - 1], distribution[below]
        score = scores[below - 1] + (scores[below] - scores[below - 1]) * (outcome - left) / (right - left)
    else:
        end = 0 if below == 0 else -1
        median = (distribution[_MIDDLE - 1] + distribution[_MIDDLE]) / 2
        spread = distribution[end] - median
        score = scores[end] * ((outcome - median) / spread) if spread else math.copysign(WIDEST, outcome - median)
    return round(max(-WIDEST, min(WIDEST, score)), _DIGITS)
