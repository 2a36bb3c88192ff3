"""Split-conformal prediction: from residuals of games that no model saw to intervals and probabilities.

For n residuals that are exchangeable with the next game's, the interval between the k-th smallest and the k-th
largest, k = ⌊(n + 1)·α/2⌋, holds with probability at least 1 − α, and each tail is missed with at most α/2 (Vovk,
Gammerman & Shafer, Algorithmic Learning in a Random World, 2005; the asymmetric form: Romano, Patterson & Candès,
Conformalized Quantile Regression, 2019). Residuals keep their sign, so that the interval may be asymmetric.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.types import Interval

LEAD_THRESHOLD = 0.5
"""A predicted differential beyond it rounds to a lead of at least one point."""


@dataclass(frozen=True)
class ConformalScores:
    """Residuals (outcome − forecast, in points) of calibration games, ascending.

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

    @classmethod
    def of(cls, outcomes: Floats, forecasts: Floats) -> ConformalScores:
        """The scores of forecasts, (n,) each, in points."""
        return cls(np.sort(outcomes - forecasts))

    @property
    def games(self) -> int:
        """How many games they come from."""
        return len(self.residuals)

    def _rank(self, alpha: float) -> int:
        """Which smallest and largest residual bound the interval, from 1 on; 0 if alpha is too small."""
        return math.floor((self.games + 1) * alpha / 2)

    @cached_property
    def smallest_alpha(self) -> float:
        """The smallest alpha for which there is an interval; 1 with a single residual."""
        alpha = 2 / (self.games + 1)
        while self._rank(alpha) < 1:  # rounding may fall just short
            alpha = math.nextafter(alpha, math.inf)
        return alpha

    def offsets(self, alpha: float) -> tuple[float, float]:
        """The interval's ends less the point forecast, in points: lower ≤ 0 ≤ upper, wider with smaller alpha.

        For alpha near 1 the two quantiles may lie on one side of 0; the interval is then widened to hold the point,
        which can only raise its coverage.

        Raises:
            ValueError: if alpha is less than `smallest_alpha` or not less than 1.
        """
        rank = self._rank(alpha)
        if rank < 1 or alpha >= 1:
            raise ValueError(f"alpha {alpha} is not in [{self.smallest_alpha}, 1)")
        return min(float(self.residuals[rank - 1]), 0.0), max(float(self.residuals[-rank]), 0.0)

    def interval(self, point: float, alpha: float) -> Interval:
        """The interval around a point forecast; holds the point and is nested in alpha.

        Raises:
            ValueError: if alpha is less than `smallest_alpha` or not less than 1.
        """
        below, above = self.offsets(alpha)
        return Interval(point + below, point + above)

    def home_lead_probability(self, points: Floats) -> Floats:
        """P(differential > 0) for point forecasts, in points; never falls as the point rises.

        The predictive distribution is point + residual, and the outcome a whole number: it leads where the sum rounds
        to 1 or more. Without that half point, half of the ties would be counted as leads. The share is smoothed as a
        conformal p-value is, with the game to come as one more residual, half above and half below; so it is never 0
        or 1.

        Args:
            points: (n,), in points.

        Returns:
            (n,), in (0, 1).
        """
        needed = LEAD_THRESHOLD - points
        not_above = self.residuals.searchsorted(needed, side="left") + self.residuals.searchsorted(needed, side="right")
        return (self.games + 0.5 - not_above / 2) / (self.games + 1)
