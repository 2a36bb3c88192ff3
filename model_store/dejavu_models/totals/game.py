"""Distribution of the total points of one game: the same numbers as `TotalModel.distribution`, at less cost.

A forecast alone needs few values of its distribution. They are computed from plain numbers; a table of values is made
only for the many quantiles of a forecast that is recorded. See `uncertainty.lattice.game`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.totals.inputs import LATE, MOST_TO_COME
from dejavu_models.totals.model import CENTERS, TotalModel
from dejavu_models.types import HORIZONS, Horizon
from dejavu_models.uncertainty.lattice.distribution import TOLERANCE
from dejavu_models.uncertainty.lattice.margin_model import ROWS
from dejavu_models.uncertainty.lattice.shapes import ONE_SHAPE, Mixture

_CENTERS: Final[list[float]] = CENTERS.tolist()
_MANY: Final = 6
"""Quantiles from which on a table of values costs less than one after the other."""


class TotalDistribution(Protocol):
    """Distribution of the total of one game on whole numbers."""

    @property
    def point(self) -> float:
        """Point forecast of the total, in points."""

    def cumulative(self, total: int) -> float:
        """Returns the probability of a total or less, in [0, 1]."""

    def quantiles(self, levels: Sequence[float]) -> list[float]:
        """Returns the least totals with at least a level at or below them, in the order of the levels, in (0, 1)."""


class TotalTables:
    """Tables of one horizon and minute as plain numbers.

    Args:
        model: tables of one source of the expected total.
        horizon: the horizon.
        minute: minute after which the games are.
    """

    def __init__(self, model: TotalModel, horizon: Horizon, minute: int) -> None:
        row = ROWS[HORIZONS.index(horizon), minute]
        self.final = horizon is Horizon.FINAL
        self.late = self.final and minute >= LATE
        self.arrays = model.late_shapes[minute - LATE] if self.late else model.shapes[row : row + 1]
        self.shapes: list[list[float]] = self.arrays.tolist()
        self.centers = _CENTERS if self.late else ONE_SHAPE
        self.point: list[float] = model.point[row].tolist()
        self.scale: list[float] = model.scale[row].tolist()
        self.log_mean = float(model.log_mean[row])

    def game(self, points: int, lead: float, expected: float) -> TotalDistribution:
        """Returns the distribution of one game; see `TotalGame`."""
        return TotalGame(self, points, lead, expected)

    def to_come(self, points: float, size: float, expected: float) -> float:
        """Returns the points that are expected still to come; see `point_terms`, `size` is that of the lead."""
        start, so_far, before, clear, clearer, close = self.point
        result = start + so_far * points + before * expected
        if self.final:
            result += clear * (size / 10) + clearer * (max(size - 10, 0.0) / 10) + close * (max(6 - size, 0.0) / 6)
        return min(max(result, 0.0), float(MOST_TO_COME))

    def log_scale(self, to_come: float, size: float) -> float:
        """Returns the logarithm of the scale; see `scale_terms`."""
        start, relative, clear, close = self.scale
        result = start + relative * (math.log(max(to_come, 1.0)) - self.log_mean)
        return result + clear * (size / 10) + close * (max(10 - size, 0.0) / 10) if self.late else result


class TotalGame:
    """Distribution of the total of one game on whole numbers.

    Args:
        tables: tables of the horizon and minute.
        points: points of both teams so far.
        lead: last known differential, in points.
        expected: expected final total before tip-off, in points; 0 if unknown.
    """

    def __init__(self, tables: TotalTables, points: int, lead: float, expected: float) -> None:
        size = abs(lead)
        self._points = points
        self._to_come = tables.to_come(points, size, expected)
        self._scale = math.exp(tables.log_scale(self._to_come, size))
        self._shape = Mixture(tables.arrays, tables.shapes, tables.centers, size)

    @property
    def point(self) -> float:
        """Point forecast of the total, in points."""
        return self._points + self._to_come

    def cumulative(self, total: int) -> float:
        """Returns the probability of a total or less, in [0, 1]."""
        to_come = total - self._points
        if to_come < 0:
            return 0.0
        return 1.0 if to_come >= MOST_TO_COME else self._below(to_come)

    def quantiles(self, levels: Sequence[float]) -> list[float]:
        """Returns the least totals with at least a level at or below them, in the order of the levels, in (0, 1)."""
        if len(levels) < _MANY:
            return [float(self._points + self._quantile(level)) for level in levels]
        first, last = self._quantile(min(levels)), self._quantile(max(levels))
        standardized: Floats = (np.arange(first + 0.5, last + 1) - self._to_come) / self._scale
        found: list[int] = np.searchsorted(self._shape.cumulative(standardized), np.array(levels) - TOLERANCE).tolist()
        # What lies at or below the last of them is, to rounding, the greatest level.
        return [float(self._points + min(first + index, last)) for index in found]

    def _below(self, to_come: int) -> float:
        """Returns the probability of so many points still to come or fewer, below MOST_TO_COME."""
        return self._shape.share_below((to_come + 0.5 - self._to_come) / self._scale)

    def _quantile(self, level: float) -> int:
        """Returns the least number of points still to come with at least a level at or below it."""
        target = level - TOLERANCE
        # A value of the nearer shape; that of a mixture, and beyond the outermost level, is a few steps away.
        start = self._to_come + self._scale * self._shape.inverses(target)[0] - 0.5
        value = min(max(math.ceil(start), 0), MOST_TO_COME)
        while value > 0 and self._below(value - 1) >= target:
            value -= 1
        while value < MOST_TO_COME and self._below(value) < target:
            value += 1
        return value
