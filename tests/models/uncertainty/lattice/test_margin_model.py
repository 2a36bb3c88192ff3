"""Distributions of margins: symmetric for home and away, and refused if their tables are broken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.calibrations import symmetric_calibration, symmetric_model

from dejavu_models.types import CASES, HORIZONS, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.inputs import BEST_FIRST, LiveKind
from dejavu_models.uncertainty.lattice.margin_model import LATE_MINUTES

MODEL = symmetric_model()


def points_of(leads: np.ndarray, margins: np.ndarray) -> np.ndarray:
    return leads + 0.2 * margins


@given(when=st.sampled_from(CASES), lead=st.integers(-30, 30), margin=st.floats(-12, 12))
def test_the_other_side_has_the_mirrored_distribution(when: tuple[int, int], lead: int, margin: float) -> None:
    horizon, minute = HORIZONS[when[0]], when[1]
    if not lead and horizon is Horizon.FINAL and minute in LATE_MINUTES:
        return  # without a leader nothing is towards one
    leads, margins = np.array([lead, -lead], dtype=float), np.array([margin, -margin])
    made = MODEL.distribution(horizon, minute, points_of(leads, margins), leads, margins)
    assert made.mass[0] == pytest.approx(made.mass[1][::-1], abs=1e-9)


def test_requests_without_live_inputs_and_bundles_without_their_tables_have_the_others() -> None:
    made = symmetric_calibration()
    assert made.kinds(MarginSource.KNOWN) == BEST_FIRST
    assert made.model(MarginSource.KNOWN).kind is LiveKind.NONE
    assert made.kinds(MarginSource.RATED) == ()
    with pytest.raises(ValueError, match="no tables for margins that are UNKNOWN"):
        LatticeCalibration({(source, LiveKind.NONE): MODEL for source in (MarginSource.KNOWN, MarginSource.RATED)})
    with pytest.raises(ValueError, match="tables of KNOWN for SCORES were fitted for NONE"):
        LatticeCalibration({**made.models, (MarginSource.KNOWN, LiveKind.SCORES): MODEL})
