"""The inputs of a forecast's scores, packed into one byte string, so that scoring reads one column of each forecast.

Little-endian doubles: point forecast, last known differential, lower and upper end of the interval and
P(home leads), then the recorded quantiles, if there are any.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.metrics import crps_of_quantiles
from dejavu_models.types import DISTRIBUTION_LEVELS

LEADING: Final = 5
"""Numbers before the quantiles."""

BYTES_WITHOUT_QUANTILES: Final = 8 * LEADING


class Columns(NamedTuple):
    """Scored values of n forecasts: numbers (n,) each, in points except the probability.

    Attributes:
        quantiles: (levels, m), of the m forecasts that have any.
        has_quantiles: (n,), whether the forecast has quantiles.
    """

    point: Floats
    last_known: Floats
    lower: Floats
    upper: Floats
    probability: Floats
    quantiles: Floats
    has_quantiles: NDArray[np.bool_]

    def crps(self, differential: Floats) -> Floats:
        """Return the CRPS of each forecast at a differential, in points; NaN for one without quantiles."""
        result = np.full(len(differential), np.nan)
        if self.has_quantiles.any():
            result[self.has_quantiles] = crps_of_quantiles(self.quantiles, differential[self.has_quantiles])
        return result

    def covered(self, differential: Floats) -> NDArray[np.bool_]:
        """Return whether each interval holds a differential."""
        return (self.lower <= differential) & (differential <= self.upper)

    def brier(self, differential: Floats) -> Floats:
        """Return the Brier score of each P(home leads) at a differential."""
        return np.square(self.probability - (differential > 0))


def pack(
    point: float, last_known: float, interval: tuple[float, float], probability: float, quantiles: Sequence[float]
) -> bytes:
    """Return the scored values of a forecast.

    Raises:
        struct.error: if one is not a number.
    """
    return struct.pack(f"<{LEADING + len(quantiles)}d", point, last_known, *interval, probability, *quantiles)


def unpack(values: Sequence[bytes]) -> Columns:
    """Return the scored values of forecasts as columns.

    Raises:
        ValueError: if those of a forecast have another length than `pack` gives.
    """
    sizes = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    whole = BYTES_WITHOUT_QUANTILES + 8 * len(DISTRIBUTION_LEVELS)
    has_quantiles = sizes == whole
    if not (has_quantiles | (sizes == BYTES_WITHOUT_QUANTILES)).all():
        raise ValueError("scored values of another length")
    leading = np.empty((LEADING, len(values)))
    both = np.frombuffer(b"".join(each for each in values if len(each) == whole), dtype="<f8")
    both = both.reshape(-1, LEADING + len(DISTRIBUTION_LEVELS)).T
    leading[:, has_quantiles] = both[:LEADING]
    few = np.frombuffer(b"".join(each for each in values if len(each) != whole), dtype="<f8")
    leading[:, ~has_quantiles] = few.reshape(-1, LEADING).T
    point, last_known, lower, upper, probability = leading
    quantiles = np.ascontiguousarray(both[LEADING:])
    return Columns(point, last_known, lower, upper, probability, quantiles, has_quantiles)
