"""The linear models on the lead and the expected margin: where the forecasts begin.

One for each horizon and minute, once with the expected margin and once without it. From minute 18 to the half hardly
anything beats it (docs/model-card.md), so Dejavu and the LSTM only say what should be added to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.types import MAX_SLOTS, Horizon

HORIZONS: Final = (Horizon.HALFTIME, Horizon.FINAL)
"""The order of every axis that runs over horizons."""

UNKNOWN: Final = 0
KNOWN: Final = 1
"""Modes, the order of every axis that runs over them: whether the expected margin is known."""

MODES: Final = (UNKNOWN, KNOWN)

INTERCEPT, SLOPE, MARGIN_SLOPE = range(3)
"""The order of the coefficients."""


@dataclass(frozen=True, slots=True)
class LinearModels:
    """increment = intercept + slope · lead + margin slope · expected margin.

    Attributes:
        coefficients: (2 horizons, 48 minutes, 2 modes, 3), for minutes 0 (before tip-off) to 47; NaN where a horizon
            has passed (HALFTIME from minute 24 on). The margin slope of mode UNKNOWN is 0.

    Raises:
        ValueError: if the shape is another, or a coefficient that is needed is not finite.
    """

    coefficients: Floats

    def __post_init__(self) -> None:
        values = self.coefficients
        if values.shape != (len(HORIZONS), MAX_SLOTS + 1, len(MODES), 3) or values.dtype != np.float64:
            raise ValueError(f"linear coefficients are {values.dtype} of shape {values.shape}")
        for horizon, of_horizon in zip(HORIZONS, values, strict=True):
            if not np.isfinite(of_horizon[: horizon.last_slot + 1]).all():
                raise ValueError(f"linear coefficients for {horizon.value} must be finite")
        if np.nan_to_num(values[:, :, UNKNOWN, MARGIN_SLOPE]).any():
            raise ValueError("without an expected margin there is no slope for it")

    def increments(self, minutes: int | slice, leads: Floats, margins: Floats) -> Floats:
        """Increments from minutes to both horizons.

        Args:
            minutes: the minute of all leads, or a slice of minutes if leads has a column for each of them.
            leads: (n,) or (n, minutes), in points.
            margins: (n,), expected final differentials before the game, in points; NaN where unknown.

        Returns:
            (n, 2), or (n, minutes, 2), in points, by horizon; NaN for a horizon that has passed.
        """
        known = np.isfinite(margins)
        # (2, [minutes,] n, 3) → (n, [minutes,] 2, 3)
        chosen = np.moveaxis(self.coefficients[:, minutes][..., known.astype(np.intp), :], (0, -2), (-2, 0))
        margin = np.where(known, margins, 0.0).reshape(-1, *(1,) * leads.ndim)
        result: Floats = (
            chosen[..., INTERCEPT] + chosen[..., SLOPE] * leads[..., None] + chosen[..., MARGIN_SLOPE] * margin
        )
        return result
