"""The bundle that ships, held against the games that it was made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from dejavu_models.bundle import load_bundle
from dejavu_models.registry import default_bundle
from dejavu_trainer.evaluate import evaluate
from dejavu_trainer.games import load_games


@pytest.mark.real_data
def test_the_shipped_bundle_was_calibrated_on_the_seasons_that_it_names(data_dir: Path) -> None:
    """`evaluate` refuses other games; and on games that it was calibrated on, coverages are nominal by construction."""
    forecaster = load_bundle(default_bundle())
    calibration = load_games(data_dir, forecaster.info.calibration_seasons)
    newest = max(forecaster.info.calibration_seasons)
    found = evaluate(forecaster, calibration.of_seasons([newest]), calibration, resamples=100)
    assert found.seen == "calibrate"
    for figures in found.overall.models["ensemble"].intervals:
        assert figures.coverage.value == pytest.approx(figures.nominal_coverage, abs=0.03)
