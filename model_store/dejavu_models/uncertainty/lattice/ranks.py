"""Conformal ranks: the last step of every distribution on whole numbers.

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
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, ROWS, Horizon
from dejavu_models.uncertainty.lattice.shapes import SHAPE_LEVELS

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
