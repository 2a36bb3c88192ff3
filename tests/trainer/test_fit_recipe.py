"""The recipe of the model card, on real games: trained on 2015–2020, calibrated on 2021–2022, tested on 2023."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from dejavu_models.scores import covered
from dejavu_trainer.games import Games, load_games
from dejavu_trainer.pipeline import FitReport, fit

pytestmark = [pytest.mark.real_data, pytest.mark.nightly, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def games(data_dir: Path) -> Games:
    return load_games(data_dir, range(2015, 2024))


@pytest.fixture(scope="module")
def run(games: Games, tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    out = tmp_path_factory.mktemp("recipe") / "bundle"
    return fit(games, train=range(2015, 2021), calibrate=[2021, 2022], out=out, prototypes=3000)


def test_the_error_is_at_most_a_little_above_that_of_persistence(games: Games, run: FitReport) -> None:
    levels = games.of_seasons([2023]).differentials.astype(float)
    predictions = run.forecaster.predict_arrays(levels[:, :18])
    mae = np.abs(levels[:, 23] - predictions.ensemble).mean()
    assert mae <= 1.005 * np.abs(levels[:, 23] - predictions.persistence).mean()


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5])
def test_coverage_on_the_next_season_is_what_it_states_up_to_chance(games: Games, run: FitReport, alpha: float) -> None:
    """Chance has a part in both: in the games to come and, as the guarantee is one on average over it, in the
    calibration.

    `dejavu-trainer evaluate` prints the stricter comparison, which takes the calibration for granted.
    """
    levels = games.of_seasons([2023]).differentials.astype(float)
    points = run.forecaster.predict_arrays(levels[:, :18]).ensemble
    below, above = run.forecaster.scores(18).offsets(alpha)
    coverage = covered(points + below, points + above, levels[:, 23]).mean()
    deviation = math.sqrt(alpha * (1 - alpha) * (1 / len(levels) + 1 / run.forecaster.info.calibration_games))
    assert abs(coverage - (1 - alpha)) <= 2.576 * deviation


def test_the_models_do_not_depend_on_games_after_training(games: Games, run: FitReport, tmp_path: Path) -> None:
    """With other calibration games the same models are fitted."""
    other = fit(games, train=range(2015, 2021), calibrate=[2022], out=tmp_path / "other", prototypes=3000)
    assert other.settings == run.settings
    for name in ("lstm.onnx", "dejavu.hnsw", "entries.npz"):
        assert (other.bundle / name).read_bytes() == (run.bundle / name).read_bytes()
