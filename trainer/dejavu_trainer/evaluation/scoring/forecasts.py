"""Forecasts of one forecaster, with their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Singles

ALPHAS: Final = (0.05, 0.2, 0.5)
"""Miscoverages of the scored intervals."""


@dataclass(frozen=True, slots=True)
class Forecasts:
    """One forecaster's forecasts of n games for every case; the logistic regression has only probabilities.

    Attributes:
        probability: (n, cases), probability that the home team leads at the horizon.
        point: (n, cases), point forecasts in points.
        lower, upper: (n, cases, alphas), ends of the intervals in points; NaN where the calibration is too small.
        crps: (n, cases), in points.
        pit: (n, cases), probability integral transform of the outcomes (Dawid 1984); uniform on (0, 1) if the forecasts
            are calibrated.
        held: (n, cases, alphas), whether the outcome counts as within the interval, if that is not whether it lies
            between its ends (inclusive); see `lattice_scores`.
    """

    probability: Singles
    point: Singles | None = None
    lower: Singles | None = None
    upper: Singles | None = None
    crps: Singles | None = None
    pit: Singles | None = None
    held: NDArray[np.bool_] | None = None
