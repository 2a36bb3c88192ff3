"""The linear models on the lead and the expected margin: where the forecasts begin.

One for each horizon and minute, once with the expected margin and once without it. From minute 18 to the half hardly
anything beats it (docs/model-card.md), so Dejavu and the LSTM only say what should be added to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MAX_SLOTS, MarginSource
from dejavu_models.uncertainty.conformal import UNSCALED

INTERCEPT, SLOPE, MARGIN_SLOPE = range(3)
"""The order of the coefficients."""


@dataclass(frozen=True, slots=True)
class LinearModels:
    """increment = intercept + slope · lead + margin slope · expected margin.

    Attributes:
        coefficients: (2 horizons, 48 minutes, 2 modes, 3), for minutes 0 (before tip-off) to 47; NaN where a horizon
            has passed (HALFTIME from minute 24 on). The margin slope of mode MarginSource.UNKNOWN is 0.
        scales: (2 horizons, 48 minutes, 2 modes, 4), how far off they are on the training games, as a root mean square
            in points, by the groups between `conformal.LEAD_EDGES`; all 1 if that is not to count.

    Raises:
        ValueError: if the shape is another, or a coefficient that is needed is not finite.
    """

    coefficients: Floats
    scales: Floats = field(
        default_factory=lambda: np.ones((len(HORIZONS), MAX_SLOTS + 1, len(MARGIN_SOURCES), len(UNSCALED)))
    )
    _by_minute: Floats = field(init=False, repr=False, compare=False)  # (48 minutes, 2 modes, 2 horizons, 3)

    def __post_init__(self) -> None:
        values = self.coefficients
        if values.shape != (len(HORIZONS), MAX_SLOTS + 1, len(MARGIN_SOURCES), 3) or values.dtype != np.float64:
            raise ValueError(f"linear coefficients are {values.dtype} of shape {values.shape}")
        for horizon, of_horizon in zip(HORIZONS, values, strict=True):
            if not np.isfinite(of_horizon[: horizon.last_slot + 1]).all():
                raise ValueError(f"linear coefficients for {horizon.value} must be finite")
        if np.nan_to_num(values[:, :, MarginSource.UNKNOWN, MARGIN_SLOPE]).any():
            raise ValueError("without an expected margin there is no slope for it")
        if self.scales.shape != (*values.shape[:3], len(UNSCALED)) or not (
            np.isfinite(self.scales).all() and (self.scales > 0).all()
        ):
            raise ValueError(f"linear scales of shape {self.scales.shape} must be positive and finite")
        object.__setattr__(self, "_by_minute", np.ascontiguousarray(values.transpose(1, 2, 0, 3)))

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
        margin = np.where(known, margins, 0.0)
        modes = known.astype(np.intp)
        # (n, 2, 3), or (n, minutes, 2, 3)
        chosen = self._by_minute[minutes][modes] if isinstance(minutes, int) else self._courses(minutes)[modes]
        result: Floats = chosen[..., INTERCEPT] + chosen[..., SLOPE] * leads[..., None]
        result += chosen[..., MARGIN_SLOPE] * margin.reshape(-1, *(1,) * leads.ndim)
        return result

    def _courses(self, minutes: slice) -> Floats:
        """The coefficients of some minutes in a row: (2 modes, minutes, 2 horizons, 3)."""
        return self._by_minute[minutes].transpose(1, 0, 2, 3)
