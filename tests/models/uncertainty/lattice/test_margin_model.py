"""Distributions of margins: symmetric for home and away, and refused if their tables are broken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.calibrations import symmetric_calibration, symmetric_model

from dejavu_models.types import CASES, HORIZONS, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.inputs import BEST_FIRST, WIN_TERMS, LiveKind
from dejavu_models.uncertainty.lattice.margin_model import LATE_MINUTES, TABLES

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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scale": MODEL.scale[:, :3]}, "scale is float64"),
        ({"win": np.full(WIN_TERMS, np.nan)}, "win must be within"),
        ({"shift": np.full_like(MODEL.shift, -21.0)}, "shift must be within ±20 points"),
        ({"shapes": MODEL.shapes[:, ::-1].copy()}, "ascend"),
        ({"games": 0}, "at least one game"),
        *(({name: np.full_like(getattr(MODEL, name), 1e7)}, rf"{name} must be within ±1e\+06") for name in TABLES),
    ],
)
def test_broken_tables_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(MODEL, **change)


FAR_SCALES = {
    "a lead of 200": (0, 2, 18.0),
    "a high pace": (0, 1, 180.0),
    "tied, late": (-1, 5, 360.0),
}


@pytest.mark.parametrize(("row", "term", "value"), FAR_SCALES.values(), ids=FAR_SCALES)
def test_a_scale_beyond_arithmetic_in_some_game_is_refused(row: int, term: int, value: float) -> None:
    model = symmetric_model(LiveKind.SCORES)
    scale = model.scale.copy()
    scale[row, term] = value
    with pytest.raises(ValueError, match=r"scale gives some game a scale beyond exp\(±300\)"):
        replace(model, scale=scale)


def test_a_calibration_comes_back_as_it_was_written() -> None:
    calibration = symmetric_calibration()
    made = LatticeCalibration.from_bytes(calibration.to_bytes())
    assert made.to_bytes() == calibration.to_bytes()
    for kind, model in made.models.items():
        for name in TABLES:
            assert getattr(model, name) == pytest.approx(getattr(calibration.models[kind], name), rel=1e-6)


def test_requests_without_live_inputs_and_bundles_without_their_tables_have_the_others() -> None:
    made = symmetric_calibration()
    assert made.kinds(MarginSource.KNOWN) == BEST_FIRST
    assert made.model(MarginSource.KNOWN).kind is LiveKind.NONE
    assert made.kinds(MarginSource.RATED) == ()
    with pytest.raises(ValueError, match="no tables for margins that are UNKNOWN"):
        LatticeCalibration({(source, LiveKind.NONE): MODEL for source in (MarginSource.KNOWN, MarginSource.RATED)})
    with pytest.raises(ValueError, match="tables of KNOWN for SCORES were fitted for NONE"):
        LatticeCalibration({**made.models, (MarginSource.KNOWN, LiveKind.SCORES): MODEL})
