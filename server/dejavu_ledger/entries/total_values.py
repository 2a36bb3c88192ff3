"""Inputs of the scores of a forecast of total points, as bytes, and these scores column by column.

Little-endian doubles: point forecast, pace × time, lower and upper end of the interval, then the recorded quantiles.
Stored apart from `scored_values`, since few forecasts have a total.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dejavu_ledger.records import IssuedForecast
from dejavu_models.metrics import crps_of_quantiles
from dejavu_models.types import DISTRIBUTION_LEVELS

_LEADING: Final = 4
"""Numbers before the quantiles."""

PACE_BYTES: Final = 16
"""Bytes up to the end of the pace, which is the second number."""

_PACE: Final = struct.Struct("<8xd")

_NUMBERS: Final = _LEADING + len(DISTRIBUTION_LEVELS)


def pace(issued: IssuedForecast) -> float | None:
    """Return the total if points continue at the rate so far, in points; None if no points were given."""
    if issued.live.total_points is None:
        return None
    return issued.live.total_points * issued.forecast.horizon.minutes / issued.forecast.elapsed_minutes


def pack(issued: IssuedForecast) -> bytes | None:
    """Return the inputs of a total's scores; None if there is none.

    Raises:
        struct.error: if a value is not a number.
    """
    total, rival = issued.forecast.total, pace(issued)
    if total is None or rival is None:
        return None
    numbers = (total.point, rival, total.interval.lower, total.interval.upper, *total.distribution)
    return struct.pack(f"<{len(numbers)}d", *numbers)


def told(
    values: Sequence[bytes | None], minutes: Sequence[int], horizon_minutes: Sequence[int] | int
) -> NDArray[np.float64]:
    """Return the points of both teams with which n totals were forecast; NaN where there is no total.

    Args:
        values: for each of them, the result of `pack`, or its first PACE_BYTES.
        minutes: for each of them, its elapsed minutes.
        horizon_minutes: for each of them, or for all, the minutes up to the horizon.

    Raises:
        ValueError: if the values of a forecast are shorter.
    """
    if any(packed is not None and len(packed) < PACE_BYTES for packed in values):
        raise ValueError("values of a total without a pace")
    paces = [math.nan if packed is None else _PACE.unpack_from(packed)[0] for packed in values]
    points: NDArray[np.float64] = np.round(np.array(paces, dtype=np.float64) * np.array(minutes) / horizon_minutes)
    return points


def scores(values: Sequence[bytes | None], points: Sequence[int | None]) -> dict[str, NDArray[Any]]:
    """Return the columns of totals of `SettledForecasts`; NaN and False where forecast or outcome have no total.

    `total_open` is set where the forecast has a total and the outcome has none.

    Args:
        values: for each of n forecasts, the result of `pack`.
        points: for each of them, the total points of its outcome.

    Raises:
        ValueError: if the values of a forecast have another length than `pack` gives.
    """
    error, pace_error, width, crps = (np.full(len(values), np.nan) for _ in range(4))
    covered = np.zeros(len(values), dtype=np.bool_)
    pairs = enumerate(zip(values, points, strict=True))
    chosen = [(at, packed, total) for at, (packed, total) in pairs if packed is not None and total is not None]
    if chosen:
        places, packed_, totals = zip(*chosen, strict=True)
        if any(len(each) != 8 * _NUMBERS for each in packed_):
            raise ValueError("values of a total of another length")
        at, total = np.array(places), np.array(totals, dtype=np.float64)
        columns = np.ascontiguousarray(np.frombuffer(b"".join(packed_), dtype="<f8").reshape(-1, _NUMBERS).T)
        point, rival, lower, upper = columns[:_LEADING]
        error[at], pace_error[at], width[at] = point - total, rival - total, upper - lower
        crps[at] = crps_of_quantiles(columns[_LEADING:], total)
        covered[at] = (lower <= total) & (total <= upper)
    missing = [packed is not None and total is None for packed, total in zip(values, points, strict=True)]
    return {
        "total_open": np.array(missing, dtype=np.bool_),
        "total_error": error,
        "total_pace_error": pace_error,
        "total_covered": covered,
        "total_width": width,
        "total_crps": crps,
    }
