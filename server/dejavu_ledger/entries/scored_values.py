"""The inputs of a forecast's scores, packed into one byte string, so that scoring reads one column of each forecast.

Little-endian doubles: point forecast, rival, lower and upper end of the interval and P(home leads), then the recorded
quantiles, if there are any. The rival of a lead is the last known one, that of a total is pace × time. A total has no
probability: NaN.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_ledger.records import IssuedForecast
from dejavu_models.arrays import Floats
from dejavu_models.metrics import crps_of_quantiles
from dejavu_models.types import DISTRIBUTION_LEVELS, Forecast

_LEADING: Final = 5
"""Numbers before the quantiles."""

_NUMBERS: Final = {_LEADING, _LEADING + len(DISTRIBUTION_LEVELS)}

_RIVAL: Final = struct.Struct("<8xd")


def pack(forecast: Forecast, last_known: float) -> bytes:
    """Return the scored values of the lead of a forecast.

    Raises:
        struct.error: if one is not a number.
    """
    interval, probability = forecast.interval, forecast.home_lead_probability
    return _pack(forecast.point, last_known, interval.lower, interval.upper, probability, *forecast.distribution)


def pack_total(issued: IssuedForecast) -> bytes | None:
    """Return the scored values of the total of a forecast; None if it has none.

    Raises:
        struct.error: if one is not a number.
    """
    forecast, points = issued.forecast, issued.live.total_points
    if forecast.total is None or points is None:
        return None
    total, pace = forecast.total, points * forecast.horizon.minutes / forecast.elapsed_minutes
    return _pack(total.point, pace, total.interval.lower, total.interval.upper, math.nan, *total.distribution)


def _pack(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}d", *numbers)


def rival(values: bytes) -> float:
    """Return the rival in scored values.

    Raises:
        struct.error: if they are shorter than `pack` gives.
    """
    number: float = _RIVAL.unpack_from(values)[0]
    return number


class Scored(NamedTuple):
    """Scored values of n forecasts: numbers (n,) each, in points except the probability; NaN where there are none.

    Attributes:
        quantiles: (levels, n).
    """

    point: Floats
    rival: Floats
    lower: Floats
    upper: Floats
    probability: Floats
    quantiles: Floats

    @property
    def width(self) -> Floats:
        """Width of each interval."""
        return self.upper - self.lower

    def crps(self, outcome: Floats | float) -> Floats:
        """Return the CRPS of each forecast at an outcome; NaN for one without quantiles."""
        return crps_of_quantiles(self.quantiles, np.asarray(outcome, dtype=np.float64))

    def covered(self, outcome: Floats | float) -> NDArray[np.bool_]:
        """Return whether each interval holds an outcome."""
        return (self.lower <= outcome) & (outcome <= self.upper)


def unpack(values: Sequence[bytes | None]) -> Scored:
    """Return the scored values of forecasts as columns.

    Raises:
        ValueError: if those of a forecast have another length than `pack` gives.
    """
    numbers = np.full((len(values), max(_NUMBERS)), np.nan)
    for row, packed in zip(numbers, values, strict=True):
        if packed is not None:
            found = np.frombuffer(packed, dtype="<f8")
            if len(found) not in _NUMBERS:
                raise ValueError(f"{len(found)} scored values; expected {sorted(_NUMBERS)}")
            row[: len(found)] = found
    columns = np.ascontiguousarray(numbers.T)
    point, rival_, lower, upper, probability = columns[:_LEADING]
    return Scored(point, rival_, lower, upper, probability, columns[_LEADING:])
