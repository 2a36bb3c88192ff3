"""Calibrations for tests, of random walks with about 4.6 points a minute."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from dejavu_models.types import CASES, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.inputs import (
    BEST_FIRST,
    PACE_TERMS,
    SCALE_TERMS,
    SHIFT_TERMS,
    WIN_TERMS,
    LiveKind,
)
from dejavu_models.uncertainty.lattice.margin_model import CENTERS, LATE_MINUTES, MarginModel
from dejavu_models.uncertainty.lattice.ranks import UNRANKED
from dejavu_models.uncertainty.lattice.shapes import SHAPE_LEVELS


def symmetric_model(kind: LiveKind = LiveKind.NONE) -> MarginModel:
    """A model that treats home and away alike: a random walk whose shape depends on the size of the lead."""
    normal = np.array([NormalDist().inv_cdf(level) for level in SHAPE_LEVELS])
    shift, scale = np.zeros((len(CASES), SHIFT_TERMS)), np.zeros((len(CASES), SCALE_TERMS))
    for row, (index, minute) in enumerate(CASES):
        scale[row, 0] = np.log(2 * np.sqrt((24, 48)[index] - minute))
        scale[row, 2] = 0.05
    # With live inputs, the tables are a little too narrow.
    ranks = (2 * UNRANKED) ** 1.1 / 2 if kind else UNRANKED
    if kind:
        shift[:, 0], scale[:, 1] = 0.3, 0.5
    late = np.stack(
        [np.stack([normal * (1 + 0.02 * center) + 0.01 * center for center in CENTERS])] * len(LATE_MINUTES)
    )
    late[:, 0] = normal
    win = np.zeros(WIN_TERMS)
    win[2], win[6] = 2.0, 1.0
    pace = np.tile([220.0, -1.0, np.log(100.0)], (len(CASES), 1)) if kind else np.zeros((len(CASES), PACE_TERMS))
    return MarginModel(kind, shift, pace, scale, np.tile(normal, (len(CASES), 1)), late, win, ranks, games=1000)


def symmetric_calibration() -> LatticeCalibration:
    """Tables for all kinds of requests; only those with a known margin can have live inputs."""
    plain = {(source, LiveKind.NONE): symmetric_model() for source in MarginSource}
    return LatticeCalibration({**plain, **{(MarginSource.KNOWN, kind): symmetric_model(kind) for kind in BEST_FIRST}})
