"""Inputs of forecasts of total points, and the terms of the model that follow from them."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.types import Horizon

POINT_TERMS: Final = 6
SCALE_TERMS: Final = 4

LATE: Final = 36
"""Minute from which scale and shape of the final total depend on the lead: the trailing team fouls, and a tie goes to
overtime."""

MOST_TO_COME: Final = 400
"""Bound of the points still to come; no game of the NBA ever had more than 370 in all."""


class TotalInputs(NamedTuple):
    """Inputs of n games after a minute.

    Attributes:
        points: (n,), points of both teams.
        leads: (n,), differentials, in points.
        expected: (n,), expected final totals before tip-off, in points; 0 if unknown.
    """

    points: Floats
    leads: Floats
    expected: Floats

    def __len__(self) -> int:
        return len(self.points)


def point_terms(horizon: Horizon, inputs: TotalInputs) -> Floats:
    """Return the terms of the points still to come, (n, POINT_TERMS).

    For the end, the terms of the lead let a clear lead reduce the points to come, and a small one increase them: fouls
    stop the clock, and a tie goes to overtime. For the half, they are 0.
    """
    result = np.zeros((len(inputs), POINT_TERMS))
    result[:, 0], result[:, 1], result[:, 2] = 1.0, inputs.points, inputs.expected
    if horizon is Horizon.FINAL:
        size = np.abs(inputs.leads)
        result[:, 3] = size / 10
        result[:, 4] = np.maximum(size - 10, 0) / 10
        result[:, 5] = np.maximum(6 - size, 0) / 6
    return result


def scale_terms(horizon: Horizon, minute: int, inputs: TotalInputs, to_come: Floats, log_mean: float) -> Floats:
    """Return the terms of the logarithm of the scale, (n, SCALE_TERMS).

    Args:
        horizon: the horizon.
        minute: number of minutes played.
        inputs: inputs of the games.
        to_come: (n,), expected points still to come.
        log_mean: logarithm of their mean over the games that the model is fitted on.
    """
    result = np.zeros((len(inputs), SCALE_TERMS))
    result[:, 0] = 1.0
    result[:, 1] = np.log(np.maximum(to_come, 1.0)) - log_mean
    if horizon is Horizon.FINAL and minute >= LATE:
        size = np.abs(inputs.leads)
        result[:, 2] = size / 10
        result[:, 3] = np.maximum(10 - size, 0) / 10
    return result
