"""Forecasts of many games as columns, to score whole seasons: options are given once, without objects per game."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dejavu_models.arrays import Floats, Integers
from dejavu_models.errors import FieldErrors, InvalidMargin, InvalidPattern
from dejavu_models.forecast_query import DEFAULT_ALPHA, ForecastQuery, ScorePattern, check_level_count
from dejavu_models.types import MAX_DIFFERENTIAL, Horizon


@dataclass(frozen=True, slots=True, eq=False)
class ColumnsQuery:
    """Request for forecasts of n games to one horizon.

    Attributes:
        patterns: differentials at the end of each minute of play of all games, one game after another, in points.
        minutes: (n,), number of minutes of each game's pattern, from 1 to the last before the horizon.
        margins: (n,), expected final differentials before the games, in points; NaN if unknown.
        horizon: the horizon.
        alpha: miscoverage rate of the intervals, in (0, 1).
        quantile_levels: each in (0, 1), at most MAX_QUANTILES.
        checked: whether the values have been validated already, as in a part of a validated request.

    Raises:
        InvalidPattern, InvalidMargin, InvalidAlpha, InvalidQuantile: if a value is out of bounds or columns differ in
            length; `others` has the errors of further fields.
    """

    patterns: Floats
    minutes: Integers
    margins: Floats
    horizon: Horizon = Horizon.HALFTIME
    alpha: float = DEFAULT_ALPHA
    quantile_levels: tuple[float, ...] = ()
    checked: bool = False

    def __post_init__(self) -> None:
        if self.checked:
            return
        check_level_count(len(self.quantile_levels))
        faults = FieldErrors()
        faults.read(self._check_patterns, None)
        faults.read(self._check_margins, None)
        faults.read(self.query_of, None, (0.0,))  # the options
        faults.raise_first()

    def __len__(self) -> int:
        return len(self.minutes)

    def _check_patterns(self) -> None:
        longest = self.horizon.last_slot
        wrong = np.flatnonzero((self.minutes < 1) | (self.minutes > longest))
        if len(wrong):
            row = int(wrong[0])
            expected = f"1 to {longest} to forecast {self.horizon.value}"
            raise InvalidPattern(f"{self.minutes[row]} slots", expected, field=f"minutes[{row}]")
        slots = int(self.minutes.sum())
        if slots != len(self.patterns):
            expected = f"{slots} slots, the sum of minutes"
            raise InvalidPattern(f"{len(self.patterns)} slots", expected, field="patterns")
        wrong = np.flatnonzero(~(np.abs(self.patterns) <= MAX_DIFFERENTIAL))  # NaN too
        if len(wrong):
            slot = int(wrong[0])
            row = int(np.searchsorted(self.offsets, slot, side="right")) - 1
            raise InvalidPattern(
                f"{self.patterns[slot]:g} in minute {slot - int(self.offsets[row]) + 1} of game {row}",
                f"a finite number within ±{MAX_DIFFERENTIAL:g}",
                field=f"patterns[{slot}]",
            )

    def _check_margins(self) -> None:
        margins = self.margins
        if len(margins) != len(self):
            expected = f"none, or one for each of the {len(self)} games"
            raise InvalidMargin(f"{len(margins)} margins", expected, field="pregame_margins")
        wrong = np.flatnonzero(np.abs(margins) > MAX_DIFFERENTIAL)
        if len(wrong):
            row = int(wrong[0])
            expected = f"a number within ±{MAX_DIFFERENTIAL:g}, or NaN if unknown"
            raise InvalidMargin(f"{margins[row]:g}", expected, field=f"pregame_margins[{row}]")

    @property
    def offsets(self) -> Integers:
        """(n + 1,), the first slot of each game in `patterns`, then the total number of slots."""
        return np.concatenate([[0], np.cumsum(self.minutes)])

    def query_of(self, differentials: Sequence[float], margin: float = math.nan) -> ForecastQuery:
        """Return the query of one game with these options."""
        return ForecastQuery(
            ScorePattern(tuple(differentials)),
            self.horizon,
            self.alpha,
            pregame_margin=None if math.isnan(margin) else margin,
            quantile_levels=self.quantile_levels,
        )

    def queries(self) -> list[ForecastQuery]:
        """Return the queries of all games."""
        offsets, slots = self.offsets.tolist(), self.patterns.tolist()
        return [
            self.query_of(slots[offsets[row] : offsets[row + 1]], margin)
            for row, margin in enumerate(self.margins.tolist())
        ]

    def rows(self, start: int, stop: int) -> ColumnsQuery:
        """Return the request for some of the games."""
        offsets, minutes, margins = self.offsets, self.minutes[start:stop], self.margins[start:stop]
        patterns = self.patterns[offsets[start] : offsets[min(stop, len(self))]]
        return replace(self, patterns=patterns, minutes=minutes, margins=margins, checked=True)


@dataclass(frozen=True, slots=True, eq=False)
class ColumnsForecast:
    """Forecasts of n games; each equals the forecast of the game alone.

    Attributes:
        model_version: version of the model.
        calibration_sequence: ledger sequence of the newest outcome applied to calibration and ratings; 0 if none.
        points: (n,), point forecasts, in points.
        lower, upper: (n,), ends of the intervals, in points.
        home_lead_probabilities: (n,).
        quantiles: (n, levels), in points.
    """

    model_version: str
    calibration_sequence: int
    points: Floats
    lower: Floats
    upper: Floats
    home_lead_probabilities: Floats
    quantiles: Floats
