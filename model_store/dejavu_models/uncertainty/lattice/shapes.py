"""Shape of a predictive distribution: quantiles of standardised residuals, and the share below any value."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats

SHAPE_LEVELS: Final[Floats] = np.concatenate(
    [[0.0005, 0.001, 0.0025, 0.005], np.arange(1, 100) / 100, [0.995, 0.9975, 0.999, 0.9995]]
)
"""Levels of the quantiles of a shape, (107,): symmetric around ½."""

LEVELS: Final[list[float]] = SHAPE_LEVELS.tolist()
"""SHAPE_LEVELS as plain numbers."""

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


def share_below(shape: list[float], value: float) -> float:
    """Returns `cumulative` of one value, from plain numbers."""
    index = bisect_right(shape, value)
    if index == 0:
        return LEVELS[0] * math.exp(LOG_STEP * (value - shape[0]) / (shape[1] - shape[0]))
    if index == len(shape):
        return 1 - LEVELS[0] * math.exp(-LOG_STEP * (value - shape[-1]) / (shape[-1] - shape[-2]))
    low, level = shape[index - 1], LEVELS[index - 1]
    return level + (LEVELS[index] - level) * (value - low) / (shape[index] - low)


def inverse(shape: list[float], level: float) -> float:
    """Returns a value with about this share below; a level beyond the outermost counts as the outermost."""
    index = bisect_left(LEVELS, level)
    if index == 0:
        return shape[0]
    if index == len(shape):
        return shape[-1]
    low, start = LEVELS[index - 1], shape[index - 1]
    return start + (shape[index] - start) * (level - low) / (LEVELS[index] - low)


def mixed(shapes: Floats, centers: Floats, values: Floats, sizes: Floats) -> Floats:
    """Returns the shares below values, of shapes that are mixed by the size of the lead.

    Args:
        shapes: (centers, 107), the shapes at some sizes.
        centers: (centers,), these sizes, ascending from 0.
        values: (n, k), standardised.
        sizes: (n,), non-negative; beyond the last center counts as that one.

    Returns:
        (n, k), see `cumulative`: linear in the size between two centers.
    """
    lower = np.clip(np.searchsorted(centers, sizes, side="right") - 1, 0, len(centers) - 2)
    share = np.clip((sizes - centers[lower]) / (centers[lower + 1] - centers[lower]), 0, 1)
    result = np.zeros_like(values)
    for index, shape in enumerate(shapes):
        weight = np.where(lower == index, 1 - share, 0.0) + np.where(lower + 1 == index, share, 0.0)
        some = weight > 0
        if some.any():
            result[some] += weight[some, None] * cumulative(shape, values[some])
    return result


ONE_SHAPE: Final = [0.0]
"""Centers of a `Mixture` of a single shape, whatever the lead is."""


class Mixture:
    """The shapes between two centers, mixed for one game: the same numbers as `mixed`.

    Args:
        arrays: (centers, 107), the shapes.
        shapes: the same as plain numbers.
        centers: sizes of the lead of the shapes, ascending from 0.
        size: that of the game's lead, non-negative; beyond the last center counts as that one.
    """

    __slots__ = ("_arrays", "_shapes", "_share", "cell")

    def __init__(self, arrays: Floats, shapes: list[list[float]], centers: Sequence[float], size: float) -> None:
        self.cell = cell = bisect_right(centers, size) - 1
        """Index of the center at or below the size."""
        self._arrays, self._shapes, self._share = arrays, shapes, 0.0
        if cell < len(centers) - 1:
            self._share = (size - centers[cell]) / (centers[cell + 1] - centers[cell])

    def share_below(self, value: float) -> float:
        """Returns the share below a standardised value; see `cumulative`."""
        result = share_below(self._shapes[self.cell], value)
        if self._share:
            result += self._share * (share_below(self._shapes[self.cell + 1], value) - result)
        return result

    def cumulative(self, values: Floats) -> Floats:
        """Returns the shares below standardised values; see `cumulative`."""
        result = cumulative(self._arrays[self.cell], values)
        if not self._share:
            return result
        return (1 - self._share) * result + self._share * cumulative(self._arrays[self.cell + 1], values)

    def inverses(self, level: float) -> tuple[float, ...]:
        """Returns `inverse` of each of the shapes that are mixed: one or two."""
        cells = (self.cell, self.cell + 1) if self._share else (self.cell,)
        return tuple(inverse(self._shapes[cell], level) for cell in cells)


def check_tables(tables: Mapping[str, Floats], forms: Mapping[str, tuple[int, ...]], games: int) -> None:
    """Checks the tables of a model on whole numbers.

    Args:
        tables: all of them by name; "shapes" and "late_shapes" have quantiles at SHAPE_LEVELS in their last axis.
        forms: their shapes as arrays.
        games: number of games behind them.

    Raises:
        ValueError: if a form is wrong, or a value is not finite, or quantiles do not ascend, or there are no games.
    """
    for name, form in forms.items():
        values = tables[name]
        if values.shape != form or values.dtype != np.float64 or not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite float64 of shape {form}, not {values.dtype} {values.shape}")
    if not (_ascend(tables["shapes"]) and _ascend(tables["late_shapes"])):
        raise ValueError("the quantiles of a shape must ascend")
    if games < 1:
        raise ValueError("a shape needs at least one game")


def _ascend(shapes: Floats) -> bool:
    """Returns whether the quantiles of shapes, (…, 107), are such that `cumulative` is a distribution function."""
    steps = np.diff(shapes, axis=-1)
    return bool((steps >= 0).all() and (steps[..., [0, -1]] > 0).all())
