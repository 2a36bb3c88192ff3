"""Evaluates the shipped bundle on the games that it was built from."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.harness.real_events import real_folder

from dejavu_store.bundle import load_bundle
from dejavu_store.registry import default_bundle
from dejavu_trainer.data.games import load_games
from dejavu_trainer.evaluation.bundle import evaluate, seasons_needed


@pytest.mark.real_data
@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_the_shipped_bundle_was_made_of_the_seasons_that_it_names(data_dir: Path) -> None:
    """`evaluate` rejects other games; on its own games, coverage is nominal by construction."""
    forecaster = load_bundle(default_bundle())
    newest = max(forecaster.info.calibration_seasons)
    found = evaluate(
        forecaster, load_games(real_folder(data_dir), seasons_needed(forecaster, newest)), newest, resamples=50
    )
    assert found.seen == "calibrate"
    for each in found.result.coverages:
        if each.forecaster == "frozen":
            continue  # the bundle's ratings include these games
        assert each.found.value == pytest.approx(each.level / 100, abs=0.03)
