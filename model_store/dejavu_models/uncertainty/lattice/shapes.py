"""Shape of a predictive distribution: quantiles of standardised residuals; and conformal ranks, its last step.

Neither the models nor the tables have seen the calibration games. For each of these games and each minute of a cell,
the rank of the outcome is its randomised probability transform in the distribution of the tables. An interval at level
1 − alpha ends at the tables' levels within which the share 1 − alpha of these ranks lies, so the levels of the tables
need not be right. Ranks are two-sided, by their distance from the median, so the calibrated distribution has the median
of the tables.

Cells consist of a horizon, some minutes, the source of the expected margin, and whether live inputs are used (Mondrian
conformal prediction: Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005, section 4.5). The minutes
of a game are not exchangeable, but games are: the pooled ranks of n games count as n. So an interval covers the outcome
of a new game, at a random minute of the cell, with a probability of at least 1 − alpha (Lee, Barber & Willett,
Distribution-free inference with hierarchical data, 2023). Whole ends only increase it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from dejavu_models.arrays import Floats, check_array
from dejavu_models.types import CASES, ROWS, Horizon

SHAPE_LEVELS: Final[Floats] = np.concatenate(
    [[0.0005, 0.001, 0.0025, 0.005], np.arange(1, 100) / 100, [0.995, 0.9975, 0.999, 0.9995]]
)
"""Levels of the quantiles of a shape, (107,): symmetric around ½."""

LEVELS: Final[list[float]] = SHAPE_LEVELS.tolist()
"""SHAPE_LEVELS as plain numbers."""

MAX_COEFFICIENT: Final = 1e6
"""Bound of the values of a table; those of a bundle are below 250."""
MAX_LOG_SCALE: Final = 300.0
"""Bound of the logarithm of a scale in any game that can be requested, so that the square of a scale is finite. Those
of a bundle are within ±11, those fitted to a few hundred games within ±160."""
_TAIL: Final = 0.05
_LEAST_STEP: Final = 1e-3
LOG_STEP: Final = math.log(SHAPE_LEVELS[1] / SHAPE_LEVELS[0])
"""Decrease of the logarithm of a tail over its last step between quantiles."""


def weighted_quantiles(values: Floats, weights: Floats) -> Floats:
    """Return the weighted quantiles of values at SHAPE_LEVELS, (107,), ascending.

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
    _extend(result, ordered, weight, float(levels[0]))
    # The upper tail is the lower one of the negative values.
    upper = -result[::-1]
    _extend(upper, -ordered[::-1], weight[::-1], float(1 - levels[-1]))
    return -upper[::-1]


def _extend(result: Floats, ordered: Floats, weights: Floats, lowest: float) -> None:
    """Replace the lower quantiles at levels beyond the lowest of a sample."""
    threshold = result[np.searchsorted(SHAPE_LEVELS, _TAIL)]
    tail = ordered <= threshold
    excess = max(float(np.average(threshold - ordered[tail], weights=weights[tail])), _LEAST_STEP)
    beyond = lowest > SHAPE_LEVELS
    result[beyond] = ordered[0] - excess * np.log(lowest / SHAPE_LEVELS[beyond])
    result[0] = min(result[0], result[1] - _LEAST_STEP)


def cumulative(shape: Floats, values: Floats) -> Floats:
    """Return the share of a shape below each value: linear between its quantiles, exponential beyond the outermost.

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


def mixed(shapes: Floats, centers: Floats, values: Floats, sizes: Floats) -> Floats:
    """Return the shares below values, of shapes that are mixed by the size of the lead.

    Args:
        shapes: (centers, 107), the shapes at some sizes.
        centers: (centers,), these sizes, ascending from 0.
        values: (n, k), standardised.
        sizes: (n,), non-negative; a size beyond the last center counts as the last center.

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
"""Centers where there is a single shape, whatever the lead is."""


def check_tables(model: Any, forms: Mapping[str, tuple[int, ...]]) -> None:
    """Check the tables of a model on whole numbers.

    Args:
        model: it has `games`, the number of games behind it, and tables; `shapes` and `late_shapes` have quantiles at
            SHAPE_LEVELS in their last axis.
        forms: shapes of the tables by name.

    Raises:
        ValueError: if a form is wrong, or a value is not finite or too large, or quantiles do not ascend, or there are
            no games.
    """
    for name, form in forms.items():
        check_array(name, getattr(model, name), np.float64, form, -MAX_COEFFICIENT, MAX_COEFFICIENT)
    if not (_ascend(model.shapes) and _ascend(model.late_shapes)):
        raise ValueError("the quantiles of a shape must ascend")
    if model.games < 1:
        raise ValueError("a shape needs at least one game")


def check_log_scales(logs: Floats) -> None:
    """Raise ValueError if the logarithms of the scales of games are too large for arithmetic with the scales."""
    if not (np.abs(logs) <= MAX_LOG_SCALE).all():
        raise ValueError(f"scale gives some game a scale beyond exp(±{MAX_LOG_SCALE:g})")


def _ascend(shapes: Floats) -> bool:
    """Return whether the quantiles of shapes, (…, 107), are such that `cumulative` is a distribution function."""
    steps = np.diff(shapes, axis=-1)
    return bool((steps >= 0).all() and (steps[..., [0, -1]] > 0).all())


TAILS: Final[Floats] = SHAPE_LEVELS[SHAPE_LEVELS < 0.5]
"""Levels that have ranks, (53,): those below the median. The ranks of levels above it mirror them."""

UNRANKED: Final[Floats] = np.tile(TAILS, (len(CASES), 1))
"""The ranks of a distribution that is not calibrated, (cases, 53)."""

_LAST_MINUTES: Final = {Horizon.HALFTIME: (12, 23), Horizon.FINAL: (12, 24, 36, 40, 43, 45, 46, 47)}
"""Last minute of each cell. Late in a game, leads, fouls and ties change the distribution from minute to minute."""

_LEAST_RANK_STEP: Final = 1e-6
"""Least difference between the ranks of two levels, which must differ also as float32."""


def cells() -> list[list[int]]:
    """Return the rows of CASES by cell."""
    rows: dict[tuple[Horizon, int], list[int]] = {}
    for (horizon, minute), row in ROWS.items():
        last = min(each for each in _LAST_MINUTES[horizon] if each >= minute)
        rows.setdefault((horizon, last), []).append(row)
    return list(rows.values())


def ranks_of(transforms: Floats) -> Floats:
    """Return the ranks of calibration games.

    Args:
        transforms: (n, cases), randomised probability transforms of their outcomes, in (0, 1); n at least 1.

    Returns:
        (cases, 53): the tables' level of each of TAILS. If there are too few games for a rank of an outermost level,
        the level of the tables stays if it is farther out than every game.
    """
    games, result = len(transforms), np.empty((len(CASES), len(TAILS)))
    for rows in cells():
        sizes = np.sort(np.abs(transforms[:, rows] - 0.5), axis=None)
        of_cell = np.array([_rank(sizes, games, 1 - 2 * float(level), 0.5 - float(level)) for level in TAILS])
        steps = _LEAST_RANK_STEP * np.arange(1, len(TAILS) + 1)
        # Strictly ascending from the outermost level inwards.
        outward = np.maximum.accumulate(np.maximum(0.5 - of_cell - steps, 0.0)) + steps
        result[rows] = np.minimum(outward, 0.5 - steps[::-1])
    return result


def _rank(sizes: Floats, games: int, share: float, unranked: float) -> float:
    rank = math.ceil(round(share * (games + 1) * len(sizes) / games, 9))
    return float(sizes[rank - 1]) if rank <= len(sizes) else max(unranked, float(sizes[-1]))


def calibrated(ranks: Floats, below: Floats) -> Floats:
    """Return levels of the calibrated distribution, of the form of `below`; linear between the ranks.

    Args:
        ranks: (53,), those of its case.
        below: levels of the tables' distribution, in [0, 1].
    """
    at, levels = knots(ranks)
    result: Floats = np.interp(below, at, levels)
    return result


def knots(ranks: Floats) -> tuple[Floats, Floats]:
    """Return the tables' levels, ascending from 0 to 1, whose calibrated levels are known, and these levels."""
    at = np.concatenate([[0.0], ranks, [0.5], 1 - ranks[::-1], [1.0]])
    return at, np.concatenate([[0.0], SHAPE_LEVELS, [1.0]])


def check_ranks(ranks: Floats) -> None:
    """Raise ValueError unless the ranks of each case, (cases, 53), ascend strictly between 0 and ½."""
    # Check the mirrored ranks above the median too: floats near 1 are less dense than near 0, so these may be equal.
    if not all((np.diff(knots(of_case)[0]) > 0).all() for of_case in ranks):
        raise ValueError("the ranks of a case must ascend between 0 and 0.5")
