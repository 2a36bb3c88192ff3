"""Shape of a predictive distribution: quantiles of standardised residuals, and the share below any value."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats

SHAPE_LEVELS: Final[Floats] = np.concatenate(
    [[0.0005, 0.001, 0.0025, 0.005], np.arange(1, 100) / 100, [0.995, 0.9975, 0.999, 0.9995]]
)
"""Levels of the quantiles of a shape, (107,): symmetric around ½."""

_TAIL: Final = 0.05
_LEAST_STEP: Final = 1e-3
LOG_STEP: Final = math.log(SHAPE_LEVELS[1] / SHAPE_LEVELS[0])
"""Decrease of the logarithm of a tail over its last step between quantiles."""


def weighted_quantiles(values: Floats, weights: Floats) -> Floats:
    """Returns the weighted quantiles of values at SHAPE_LEVELS, (107,), ascending.

    Beyond the outermost value, which a small sample does not reach, tails are exponential with the mean excess over the
    outermost hundredths (peaks over a threshold: Davison & Smith 1990).

    Args:
        values: (n,), not all equal.
        weights: (n,), positive.
    """
    order = np.argsort(values, kind="stable")
    ordered, weight = values[order], weights[order]
    total = np.cumsum(weight)
    levels = (total - weight / 2) / total[-1]
    result: Floats = np.interp(SHAPE_LEVELS, levels, ordered)
    _extend(result, SHAPE_LEVELS, ordered, weight, float(levels[0]))
    # The upper tail is the lower one of the negative values.
    upper = -result[::-1]
    _extend(upper, SHAPE_LEVELS, -ordered[::-1], weight[::-1], float(1 - levels[-1]))
    return -upper[::-1]


def _extend(result: Floats, levels: Floats, ordered: Floats, weights: Floats, lowest: float) -> None:
    """Replaces the lower quantiles at levels beyond the lowest of a sample."""
    threshold = result[np.searchsorted(levels, _TAIL)]
    tail = ordered <= threshold
    excess = max(float(np.average(threshold - ordered[tail], weights=weights[tail])), _LEAST_STEP)
    beyond = levels < lowest
    result[beyond] = ordered[0] - excess * np.log(lowest / levels[beyond])
    result[0] = min(result[0], result[1] - _LEAST_STEP)


def cumulative(shape: Floats, values: Floats) -> Floats:
    """Returns the share of a shape below each value: linear between its quantiles, exponential beyond the outermost.

    Args:
        shape: (107,), quantiles at SHAPE_LEVELS, ascending; the two outermost on each side differ.
        values: of any form, standardised.

    Returns:
        Of the same form, in (0, 1); non-decreasing in the value.
    """
    result: Floats = np.interp(values, shape, SHAPE_LEVELS)
    low, high = values < shape[0], values > shape[-1]
    if low.any():
        beyond = (values[low] - shape[0]) / (shape[1] - shape[0])
        result[low] = SHAPE_LEVELS[0] * np.exp(LOG_STEP * beyond)
    if high.any():
        beyond = (values[high] - shape[-1]) / (shape[-1] - shape[-2])
        result[high] = 1 - SHAPE_LEVELS[0] * np.exp(-LOG_STEP * beyond)
    return result
