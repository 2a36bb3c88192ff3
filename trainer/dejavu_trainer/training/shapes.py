"""Fits the shapes of standardised residuals for every horizon and minute, late in a game by the size of the lead."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, Horizon
from dejavu_models.uncertainty.lattice.margin_model import ROWS
from dejavu_models.uncertainty.lattice.shapes import SHAPE_LEVELS, weighted_quantiles

NEIGHBOUR_MINUTES: Final = 0.6
"""Width of the kernel that pools the residuals of a minute with those of the minutes before and after it."""

_NEGLIGIBLE: Final = 1e-4


class LateShapes(NamedTuple):
    """Dependence of the shapes of the final on the size of the lead.

    Attributes:
        first: minute from which the shapes depend on it.
        centers: (centers,), sizes of the lead, in points.
        widths: of the kernels around them, in points.
        mirrored: whether residuals are positive towards the home team, so that each game also counts with home and away
            exchanged.
    """

    first: int
    centers: Floats
    widths: tuple[float, ...]
    mirrored: bool


def fit_shapes(residuals: Floats, leads: Floats, late: LateShapes) -> tuple[Floats, Floats]:
    """Return the quantiles of residuals.

    Args:
        residuals: (n, cases), standardised.
        leads: (n, 47), differentials after minutes 1 to 47, in points.
        late: shapes of the final, late in a game.

    Returns:
        (cases, 107) of all games, and (late minutes, centers, 107) by the size of the lead.
    """
    shapes = np.empty((len(CASES), len(SHAPE_LEVELS)))
    late_shapes = np.empty((MAX_SLOTS + 1 - late.first, len(late.centers), len(SHAPE_LEVELS)))
    for row, (index, minute) in enumerate(CASES):
        near = [(ROWS[index, each], each) for each in (minute - 1, minute, minute + 1) if (index, each) in ROWS]
        pooled = np.concatenate([residuals[:, other] for other, _ in near])
        weights = np.concatenate(
            [np.full(len(leads), np.exp(-((each - minute) ** 2) / (2 * NEIGHBOUR_MINUTES**2))) for _, each in near]
        )
        shapes[row] = weighted_quantiles(pooled, weights)
        if HORIZONS[index] is not Horizon.FINAL or minute < late.first:
            continue
        lead = np.concatenate([leads[:, each - 1] for _, each in near])
        if late.mirrored:
            pooled, lead, weights = np.append(pooled, -pooled), np.append(lead, -lead), np.tile(weights, 2)
        else:
            lead = np.abs(lead)
        for column, (center, width) in enumerate(zip(late.centers, late.widths, strict=True)):
            nearness = weights * np.exp(-((lead - center) ** 2) / (2 * width**2))
            counts = nearness > _NEGLIGIBLE
            late_shapes[minute - late.first, column] = weighted_quantiles(pooled[counts], nearness[counts])
    return shapes, late_shapes
