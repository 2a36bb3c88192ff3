"""Standard-normal scores of levels, at which distributions are evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

import numpy as np

from dejavu_models.types import DISTRIBUTION_LEVELS

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
