"""Linear models on lead, expected margin and, for the final margin, lead³; the other components are relative to them.

One model per horizon and minute: without an expected margin, with one from ratings, and with the line of a market. For
the final margin, one cubic polynomial in lead and margin for all minutes corrects each source's models: late in a game,
far from a tie, their error is the same in units of what can still happen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats, check_array
from dejavu_models.types import HORIZONS, LINEAR_SOURCES, MAX_DIFFERENTIAL, MAX_SLOTS, Horizon, MarginSource

INTERCEPT, SLOPE, MARGIN_SLOPE, CUBE = range(4)
"""Order of the coefficients."""

CUBE_UNIT: Final = 1000.0
"""Unit of the cubed lead, in cubic points: with it, the last coefficient has a size similar to that of the others."""

CUBE_REACH: Final = (8.0, 0.4)
"""Bound of the lead in the cube, in points: coefficients of √minutes and of minutes. It follows the largest leads of
2014 to 2024. Larger leads have the cube of the bound, since their own cube would reverse the forecast.
"""

MAX_INCREMENT: Final = 1e4
"""Bound of the increment of any game that can be requested, in points: the largest number that a scorecard can show.
Those of a bundle, also of one fitted to few games, are within 350."""


LEAD_REACH, MARGIN_REACH = 4.0, 3.0
"""Bounds of lead and margin in the correction, in spreads; larger ones count as these."""

CORRECTION_TERMS: Final = 6
"""Number of terms of the correction; see `correction_terms`."""


@dataclass(frozen=True, slots=True)
class LinearModels:
    """increment = intercept + slope · lead + margin slope · expected margin + cube · lead³ / CUBE_UNIT + correction.

    In the cube, leads are limited by CUBE_REACH. The correction is of the final margin: the spread of the minute times
    corrections · `correction_terms`.

    Attributes:
        coefficients: (2 horizons, 48 minutes, 3 margin sources, 4), for minutes 0 (before tip-off) to 47; the sources
            are LINEAR_SOURCES. NaN where a horizon has passed (HALFTIME from minute 24 on). The margin slope of
            MarginSource.UNKNOWN and the cubes of HALFTIME are 0. Models that were fitted without lines use the
            coefficients of MarginSource.KNOWN for them.
        corrections: (3 margin sources, CORRECTION_TERMS); those of terms with a margin are 0 for MarginSource.UNKNOWN.
        spreads: (3 margin sources, 48 minutes), standard deviation of the residuals, in points; 0: no correction.

    Raises:
        ValueError: if the shape is wrong, or a required coefficient is not finite, or some game has an increment beyond
            ±MAX_INCREMENT.
    """

    coefficients: Floats
    corrections: Floats = field(default_factory=lambda: np.zeros((len(LINEAR_SOURCES), CORRECTION_TERMS)))
    spreads: Floats = field(default_factory=lambda: np.zeros((len(LINEAR_SOURCES), MAX_SLOTS + 1)))
    _by_minute: Floats = field(init=False, repr=False, compare=False)  # (48 minutes, 3 margin sources, 2 horizons, 4)

    def __post_init__(self) -> None:
        values, sources, minutes = self.coefficients, len(LINEAR_SOURCES), MAX_SLOTS + 1
        check_array("linear coefficients", values, np.float64, (len(HORIZONS), minutes, sources, CUBE + 1))
        check_array("linear corrections", self.corrections, np.float64, (sources, CORRECTION_TERMS))
        check_array("linear spreads", self.spreads, np.float64, (sources, minutes), 0, MAX_INCREMENT)
        largest = np.full(values.shape[1:], MAX_DIFFERENTIAL)  # of what each coefficient is multiplied with
        largest[..., INTERCEPT] = 1.0
        largest[..., CUBE] = cube_of(largest[..., CUBE], np.arange(MAX_SLOTS + 1)[:, None])
        for horizon, of_horizon in zip(HORIZONS, values, strict=True):
            with np.errstate(over="ignore", invalid="ignore"):
                increments = (np.abs(of_horizon) * largest).sum(axis=-1)[: horizon.last_slot + 1]
            if not (increments <= MAX_INCREMENT).all():  # NaN fails too
                raise ValueError(f"linear coefficients give an increment to {horizon.value} beyond ±{MAX_INCREMENT:g}")
        if np.nan_to_num(values[:, :, MarginSource.UNKNOWN, MARGIN_SLOPE]).any():
            raise ValueError("the margin slope must be 0 without an expected margin")
        if np.nan_to_num(values[HORIZONS.index(Horizon.HALFTIME), ..., CUBE]).any():
            raise ValueError("the cubes for halftime must be 0")
        largest_correction = np.abs(self.corrections) @ correction_terms(LEAD_REACH, MARGIN_REACH)
        if not (self.spreads * largest_correction[:, None] <= MAX_INCREMENT).all():
            raise ValueError(f"linear corrections give an increment beyond ±{MAX_INCREMENT:g}")
        object.__setattr__(self, "_by_minute", np.ascontiguousarray(values.transpose(1, 2, 0, 3)))

    def increments(self, minutes: int | slice, leads: Floats, margins: Floats, *, line: bool = False) -> Floats:
        """Predict the increments from minutes to both horizons.

        Args:
            minutes: the minute of all leads, or a slice of minutes if leads has one column per minute.
            leads: (n,) or (n, minutes), in points.
            margins: (n,), expected final differentials before the game, in points; NaN if unknown.
            line: whether the margins are lines of a market.

        Returns:
            (n, 2), or (n, minutes, 2), in points, by horizon; NaN for a horizon that has passed.
        """
        known = np.isfinite(margins)
        margin = np.where(known, margins, 0.0)
        sources = known * LINEAR_SOURCES.index(MarginSource.LINE if line else MarginSource.KNOWN)
        # (n, 2, 4), or (n, minutes, 2, 4)
        of_minutes = self._by_minute[minutes]
        chosen = (of_minutes if isinstance(minutes, int) else of_minutes.transpose(1, 0, 2, 3))[sources]
        coefficients = chosen.transpose(-1, *range(chosen.ndim - 1))
        margin, lead = margin.reshape(-1, *(1,) * leads.ndim), leads[..., None]
        result: Floats = coefficients[INTERCEPT] + coefficients[SLOPE] * lead
        result += coefficients[MARGIN_SLOPE] * margin
        at = np.arange(MAX_SLOTS + 1)[minutes]
        result += coefficients[CUBE] * cube_of(leads, at)[..., None]
        result[..., HORIZONS.index(Horizon.FINAL)] += self._correction(sources, leads, margin, at)
        return result

    def _correction(self, sources: NDArray[np.integer], leads: Floats, margins: Floats, minutes: Any) -> Floats:
        """Return the corrections of the increments to the end, of the form of `leads`, in points."""
        spread = self.spreads[:, minutes][sources]
        safe = np.where(spread > 0, spread, 1.0)
        left = (Horizon.FINAL.minutes - minutes) / Horizon.FINAL.minutes
        known_margin = margins.reshape(-1, *(1,) * (leads.ndim - 1))
        lead = np.clip(leads / safe, -LEAD_REACH, LEAD_REACH)
        terms = correction_terms(lead, np.clip(known_margin * left / safe, -MARGIN_REACH, MARGIN_REACH))
        weights = self.corrections[sources].T.reshape(CORRECTION_TERMS, -1, *(1,) * (leads.ndim - 1))
        result: Floats = spread * (weights * terms).sum(axis=0)
        return result


def correction_terms(lead: Floats | float, margin: Floats | float) -> Floats:
    """Return the terms of the correction, (CORRECTION_TERMS, …).

    Args:
        lead: lead in spreads, within ±LEAD_REACH.
        margin: the part of the expected margin that is still to come, in spreads, within ±MARGIN_REACH; 0 if unknown.
    """
    lead, margin = np.broadcast_arrays(lead, margin)
    return np.stack([lead, margin, lead**3, lead * lead * margin, lead * margin * margin, margin**3])


def cube_of(leads: Floats, minutes: int | NDArray[np.integer]) -> Floats:
    """Return the cubes of leads after minutes, in CUBE_UNIT; leads are limited by CUBE_REACH."""
    reach = CUBE_REACH[0] * np.sqrt(minutes) + CUBE_REACH[1] * minutes
    near = np.clip(leads, -reach, reach)
    cubes: Floats = near * near * near / CUBE_UNIT
    return cubes
