"""Distribution of the total points of both teams at both horizons from every minute, on whole numbers.

Like the distribution of margins (`uncertainty.lattice.margin_model`), it consists of small tables, fitted on all games
before the forecast ones. The points still to come are fitted by least squares, with a scale that depends on them and,
late, on the lead, and the shape of the standardised residuals. Totals below the current points have no probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, MAX_DIFFERENTIAL, MAX_SLOTS, ROWS, Horizon
from dejavu_models.uncertainty.lattice.distribution import WholeNumberDistribution
from dejavu_models.uncertainty.lattice.shapes import SHAPE_LEVELS, check_log_scales, check_tables, cumulative, mixed

POINT_TERMS: Final = 6
SCALE_TERMS: Final = 4

LATE: Final = 36
"""Minute from which scale and shape of the final total depend on the lead: the trailing team fouls, and a tie goes to
overtime."""

MOST_TO_COME: Final = 400
"""Bound of the points still to come; no game of the NBA ever had more than 370 in all."""


CENTERS: Final[Floats] = np.array([0.0, 4.0, 10.0, 18.0])
"""Sizes of the lead at which there is a late shape, in points; between them shapes are mixed."""

LATE_MINUTES: Final = tuple(range(LATE, MAX_SLOTS + 1))

FORMS: Final = {
    "point": (len(CASES), POINT_TERMS),
    "log_mean": (len(CASES),),
    "scale": (len(CASES), SCALE_TERMS),
    "shapes": (len(CASES), len(SHAPE_LEVELS)),
    "late_shapes": (len(LATE_MINUTES), len(CENTERS), len(SHAPE_LEVELS)),
}
"""Shapes of the tables."""

TABLES: Final = tuple(FORMS)


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


_EDGES: Final[Floats] = np.arange(0.5, MOST_TO_COME)

# The logarithm of the scale is linear between these sizes of the lead and in the logarithm of the points to come.
_LEADS, _LEAST_AND_MOST = (each.ravel() for each in np.meshgrid([0.0, 10.0, MAX_DIFFERENTIAL], [0.0, MOST_TO_COME]))
_OUTERMOST: Final = TotalInputs(np.zeros_like(_LEADS), _LEADS, np.zeros_like(_LEADS))


@dataclass(frozen=True, eq=False)
class TotalModel:
    """Tables of one source of the expected total.

    Attributes:
        point: (cases, POINT_TERMS), coefficients of the points still to come.
        log_mean: (cases,), logarithm of their mean.
        scale: (cases, SCALE_TERMS), coefficients of the logarithms of the scales.
        shapes: (cases, 107), quantiles of the standardised residuals; unused where there are late shapes.
        late_shapes: (LATE_MINUTES, CENTERS, 107), of the final total by the size of the lead.
        games: number of games behind the residuals.

    Raises:
        ValueError: if a shape is wrong, or a value is not finite or too large, or quantiles do not ascend, or a game
            that can be requested has a scale beyond MAX_LOG_SCALE.
    """

    point: Floats
    log_mean: Floats
    scale: Floats
    shapes: Floats
    late_shapes: Floats
    games: int

    def __post_init__(self) -> None:
        check_tables(self, FORMS)
        for (horizon, minute), row in ROWS.items():
            terms = scale_terms(horizon, minute, _OUTERMOST, _LEAST_AND_MOST, float(self.log_mean[row]))
            check_log_scales(terms @ self.scale[row])

    def to_come(self, horizon: Horizon, minute: int, inputs: TotalInputs) -> Floats:
        """Return the expected points still to come until a horizon, (n,), from 0 to MOST_TO_COME.

        Args:
            horizon: the horizon.
            minute: number of minutes played.
            inputs: inputs of the games.
        """
        # Summed term by term, not as a matrix product, whose order of summation depends on the number of games.
        terms = point_terms(horizon, inputs) * self.point[ROWS[horizon, minute]]
        result: Floats = np.clip(terms.sum(axis=1), 0.0, MOST_TO_COME)
        return result

    def distribution(self, horizon: Horizon, minute: int, inputs: TotalInputs) -> WholeNumberDistribution:
        """Return the distributions of the totals of n games at a horizon.

        Args:
            horizon: the horizon.
            minute: number of minutes played.
            inputs: inputs of the games; points must be whole.
        """
        row = ROWS[horizon, minute]
        to_come = self.to_come(horizon, minute, inputs)
        logs = scale_terms(horizon, minute, inputs, to_come, float(self.log_mean[row])) * self.scale[row]
        standardized = (_EDGES - to_come[:, None]) / np.exp(logs.sum(axis=1))[:, None]
        if horizon is Horizon.FINAL and minute >= LATE:
            below = mixed(self.late_shapes[minute - LATE], CENTERS, standardized, np.abs(inputs.leads))
        else:
            below = cumulative(self.shapes[row], standardized)
        mass = np.maximum(np.diff(below, axis=1, prepend=0.0, append=1.0), 0.0)
        mass /= mass.sum(axis=1, keepdims=True)
        return WholeNumberDistribution(mass, inputs.points.astype(np.int64))
