"""The bundle that ships, held against the real games that it says it was made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dejavu_models.bundle import load_bundle
from dejavu_models.registry import default_bundle
from dejavu_trainer.games import load_games

pytestmark = pytest.mark.real_data


def test_it_was_made_of_these_games(data_dir: Path) -> None:
    manifest = load_bundle(default_bundle()).manifest
    games = load_games(data_dir, [*manifest.train.seasons, *manifest.calibrate.seasons])
    assert games.fingerprint == manifest.data_fingerprint


def test_its_intervals_come_from_what_it_misses_on_the_calibration_games(data_dir: Path) -> None:
    forecaster = load_bundle(default_bundle())
    levels = load_games(data_dir, forecaster.info.calibration_seasons).differentials.astype(float)
    residuals = levels[:, 23] - forecaster.predict_arrays(levels[:, :18]).ensemble
    assert forecaster.scores(18).residuals == pytest.approx(np.sort(residuals), abs=1e-3)


def test_its_prototypes_stand_for_all_training_games_and_are_named_by_them(data_dir: Path) -> None:
    forecaster = load_bundle(default_bundle())
    games = load_games(data_dir, forecaster.info.train_seasons)
    held = forecaster.entries(18)
    assert held.games.sum() == len(games)
    named = set(zip(held.date.tolist(), held.home.tolist(), held.away.tolist(), strict=True))
    assert named <= set(zip(games.date.tolist(), games.home.tolist(), games.away.tolist(), strict=True))
