"""Calibrations for tests, of games that are random walks: on whole numbers, and those of earlier releases."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from tests.support.builders.made_once import computed_once

from dejavu_models.types import CASES, MarginSource
from dejavu_models.uncertainty.calibration import Calibration
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.inputs import PACE_TERMS, SCALE_TERMS, SHIFT_TERMS, WIN_TERMS
from dejavu_models.uncertainty.lattice.margin_model import CENTERS, LATE_MINUTES, MarginModel
from dejavu_models.uncertainty.lattice.shapes import SHAPE_LEVELS

MIN_CELL = 500
"""Games of a cell of `earlier_calibration`, enough for an alpha of 0.005."""


def symmetric_model(*, live: bool = False) -> MarginModel:
    """A model that treats home and away alike: a random walk whose shape depends on the size of the lead."""
    normal = np.array([NormalDist().inv_cdf(level) for level in SHAPE_LEVELS])
    shift, scale = np.zeros((len(CASES), SHIFT_TERMS)), np.zeros((len(CASES), SCALE_TERMS))
    for row, (index, minute) in enumerate(CASES):
        scale[row, 0] = np.log(2 * np.sqrt((24, 48)[index] - minute))
        scale[row, 2] = 0.05
    if live:
        shift[:, 0], scale[:, 1] = 0.3, 0.5
    late = np.stack(
        [np.stack([normal * (1 + 0.02 * center) + 0.01 * center for center in CENTERS])] * len(LATE_MINUTES)
    )
    late[:, 0] = normal
    win = np.zeros(WIN_TERMS)
    win[2], win[6] = 2.0, 1.0
    pace = np.tile([220.0, -1.0, np.log(100.0)], (len(CASES), 1)) if live else np.zeros((len(CASES), PACE_TERMS))
    return MarginModel(live, shift, pace, scale, np.tile(normal, (len(CASES), 1)), late, win, games=1000)


def symmetric_calibration() -> LatticeCalibration:
    """Tables for all kinds of requests; those whose margin is known may have live inputs."""
    plain, live = symmetric_model(), symmetric_model(live=True)
    return LatticeCalibration({**{(source, False): plain for source in MarginSource}, (MarginSource.KNOWN, True): live})


def earlier_calibration() -> Calibration:
    """Returns distributions on all numbers, as those of earlier releases, around linear models of random walks."""

    def calibrate() -> Calibration:
        # Imported late: tests of the client build bundles too, and do without the trainer.
        from tests.support.builders.folds import rated_walks
        from tests.support.fakes.linear_only_models import plain_calibration, plain_models

        from dejavu_trainer.training.linear import fit_linear

        past = rated_walks(2400, range(2033, 2034), seed=3)
        return plain_calibration(plain_models(fit_linear(*past)), past, MIN_CELL).rounded()

    return computed_once("earlier-calibration", calibrate)
