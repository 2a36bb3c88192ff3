from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.support.walks import random_walks

from dejavu_models.bundle import load_bundle
from dejavu_models.scores import binomial_region, covered
from dejavu_trainer.games import DataError, Games
from dejavu_trainer.pipeline import DEJAVU_WEIGHT, FitReport, fit


class Bars:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.stages = list[tuple[str, int, int]]()

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Callable[[int], object]]:
        done = list[int]()
        yield done.append
        self.stages.append((name, total, sum(done)))


GAMES = random_walks(400, range(2019, 2023))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[FitReport, Bars]:
    bars = Bars()
    folder = tmp_path_factory.mktemp("fit") / "bundle"
    report = fit(GAMES, train=[2019, 2020], calibrate=[2021], out=folder, seed=3, prototypes=100, progress=bars)
    return report, bars


def test_the_bundle_says_what_it_was_made_of(run: tuple[FitReport, Bars]) -> None:
    report, _ = run
    manifest = load_bundle(report.bundle).manifest
    used = GAMES.of_seasons([2019, 2020, 2021])
    assert manifest.version == report.version
    assert manifest.data_fingerprint == used.fingerprint
    assert (manifest.train.seasons, manifest.train.games) == ((2019, 2020), 800)
    assert (manifest.calibrate.seasons, manifest.calibrate.games) == ((2021,), 400)
    assert manifest.train.last_date < manifest.calibrate.first_date
    assert manifest.seed == 3
    assert {"hnswlib", "onnxruntime", "torch"} <= manifest.libraries.keys()
    stage = manifest.stages[0]
    assert (stage.dejavu_weight, stage.lstm_weight) == (DEJAVU_WEIGHT, 1 - DEJAVU_WEIGHT)
    assert (stage.dejavu.entries, stage.dejavu.prototypes) == (100, True)
    for name, sha256 in manifest.files.items():
        assert hashlib.sha256((report.bundle / name).read_bytes()).hexdigest() == sha256


def test_every_bar_comes_to_its_end(run: tuple[FitReport, Bars]) -> None:
    _, bars = run
    assert [name for name, _, _ in bars.stages] == [
        "Choose how Dejavu looks back",
        "Build the Dejavu database",
        "Train the LSTM",
        "Calibrate and publish",
    ]
    assert all(done == total for _, total, done in bars.stages)


def test_intervals_come_from_the_ensemble_that_ships_on_games_it_never_saw(run: tuple[FitReport, Bars]) -> None:
    report, _ = run
    unseen = GAMES.of_seasons([2021]).differentials.astype(float)
    forecasts = report.forecaster.predict_arrays(unseen[:, :18]).ensemble
    assert report.forecaster.scores(18).residuals == pytest.approx(np.sort(unseen[:, 23] - forecasts), abs=1e-4)
    mae = {metric.name: metric.value for metric in report.metrics}["calibration.ensemble.mae"]
    assert mae == pytest.approx(np.abs(unseen[:, 23] - forecasts).mean(), abs=1e-4)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5])
def test_intervals_hold_as_often_as_they_say_on_games_to_come(run: tuple[FitReport, Bars], alpha: float) -> None:
    report, _ = run
    # Games drawn as those of the calibration were; many, so that the calibration's own chance is what is left.
    new = random_walks(4000, range(2030, 2031), seed=11).differentials.astype(float)
    points = report.forecaster.predict_arrays(new[:, :18]).ensemble
    below, above = report.forecaster.scores(18).offsets(alpha)
    coverage = covered(points + below, points + above, new[:, 23]).mean()
    low, high = binomial_region(400, 1 - alpha, 0.999)
    assert low / 400 <= coverage <= high / 400


def test_the_same_run_gives_the_same_version_and_another_seed_another(
    run: tuple[FitReport, Bars], tmp_path: Path
) -> None:
    def again(seed: int, games: Games = GAMES) -> str:
        out = tmp_path / "again"
        return fit(games, train=[2019, 2020], calibrate=[2021], out=out, seed=seed, prototypes=100).version

    assert again(3, GAMES.of_seasons([2019, 2020, 2021])) == run[0].version
    assert again(4) != run[0].version


def test_without_prototypes_every_game_is_held(tmp_path: Path) -> None:
    report = fit(GAMES, train=[2019], calibrate=[2021], out=tmp_path / "whole")
    assert report.forecaster.info.database_entries == 400
    assert not report.forecaster.manifest.stages[0].dejavu.prototypes


def test_seasons_that_overlap_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2020"):
        fit(GAMES, train=[2019, 2020], calibrate=[2020], out=tmp_path / "bundle")


@pytest.mark.parametrize("prototypes", [0, -1, 401, 49])
def test_a_number_of_prototypes_that_cannot_be_is_refused(tmp_path: Path, prototypes: int) -> None:
    with pytest.raises(DataError, match=f"{prototypes} prototypes; expected 50 to 400"):
        fit(GAMES, train=[2019], calibrate=[2021], out=tmp_path / "bundle", prototypes=prototypes)


def test_too_few_games_are_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too"):
        fit(random_walks(8, range(2019, 2021)), train=[2019], calibrate=[2020], out=tmp_path / "bundle")


def test_a_folder_of_other_things_is_refused_before_the_work_begins(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    bars = Bars()
    with pytest.raises(FileExistsError):
        fit(GAMES, train=[2019], calibrate=[2021], out=tmp_path, progress=bars)
    assert not bars.stages
