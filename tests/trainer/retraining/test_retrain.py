"""A retrain publishes one challenger, the same however often it is stopped, or nothing."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.bundles import (
    SEASON_GAMES,
    quick_recipe,
    simulated_games,
    simulated_seasons,
    small_bundle_folder,
    stored_versions,
    walked_forward,
)
from tests.support.builders.made_once import made_once
from tests.support.harness.present import present

from dejavu_feed.errors import DataError
from dejavu_models.manifest import LineageRecord
from dejavu_store.bundle import read_manifest
from dejavu_store.bundle_store import ModelStore
from dejavu_trainer.data.plays import write_plays
from dejavu_trainer.data.simulate import simulate_season
from dejavu_trainer.lineage import code_version, libraries
from dejavu_trainer.retraining.retrain import (
    Challenger,
    ChallengerUnfit,
    Due,
    GamesRefused,
    RetrainError,
    RetrainRunning,
    look,
    make,
    open_work_folder,
)
from dejavu_trainer.retraining.triggers import RetrainSettings, plan_seasons


def settings_in(folder: Path, **changes: Any) -> RetrainSettings:
    settings = RetrainSettings(
        sources=(str(simulated_seasons()),),
        store=str(folder / "store"),
        parent=small_bundle_folder(),
        recipe=quick_recipe(),
        calibration_games=SEASON_GAMES,
        test_seasons=1,
        test_games=SEASON_GAMES,
        new_games=SEASON_GAMES,
        season_games=SEASON_GAMES,
        allow_unfit=True,
        today=lambda: date(2035, 1, 1),
    )
    return replace(settings, **changes)


def looked(folder: Path, **changes: Any) -> Due:
    with open_work_folder(folder / "work") as work:
        return look(settings_in(folder, **changes), work)


def retrained(folder: Path, **changes: Any) -> Challenger | None:
    settings = settings_in(folder, **changes)
    with open_work_folder(folder / "work") as work:
        due = look(settings, work)
        return make(settings, work, due) if due.triggers else None


def undisturbed() -> Path:
    """Return a folder in which a retrain has ended, with its work folder and its store.

    Its fold is that of `walked_forward`: it has the same inputs, and so the same name.
    """

    def made(folder: Path) -> None:
        with open_work_folder(folder / "work") as work:
            folds = work.path("folds", code=code_version(), libraries=libraries())
            folds.mkdir()
            [fold] = walked_forward().glob("fold-2034-*")
            shutil.copy(fold, folds)
        assert retrained(folder) is not None

    return made_once("undisturbed-retrain", made)


def store_of(folder: Path) -> ModelStore:
    return ModelStore.open(folder / "store", allow_unfit=True)


def test_the_challenger_in_the_store_states_its_origin_and_is_not_made_again(tmp_path: Path) -> None:
    [version] = stored_versions(store_of(undisturbed()))
    manifest = store_of(undisturbed()).manifest(version)
    assert manifest.lineage == LineageRecord(
        parent_version=read_manifest(small_bundle_folder()).version,
        reason="new season 2034; new games",
        code_version=code_version(),
    )
    assert manifest.train.seasons == (2031, 2032, 2033)
    assert manifest.calibrate.seasons == manifest.verdict.seasons == (2034,)
    assert manifest.data_fingerprint == simulated_games().fingerprint
    shutil.copytree(undisturbed(), tmp_path / "again")
    due = looked(tmp_path / "again")
    assert (list(due.triggers), due.newer, due.basis.model_version) == ([], 0, version), "not again without newer games"


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param("backtest-* bundle-* last.json", marks=pytest.mark.nightly),
        pytest.param("bundle-* last.json", marks=pytest.mark.nightly),
        "last.json",
    ],
)
def test_killed_between_steps_it_goes_on_to_the_same_challenger(tmp_path: Path, lost: str) -> None:
    """Each step leaves one result, atomically, so that a kill leaves the results of the first steps."""
    work = shutil.copytree(undisturbed() / "work", tmp_path / "work")
    results = {path.name for path in work.iterdir()}
    for pattern in lost.split():
        for path in work.glob(pattern):
            path.unlink() if path.is_file() else shutil.rmtree(path)
    [version] = stored_versions(store_of(undisturbed()))
    challenger = present(retrained(tmp_path))
    assert [challenger.manifest.version] == stored_versions(store_of(tmp_path)) == [version]
    assert {path.name for path in work.iterdir()} == results


@pytest.mark.nightly  # by day, tests/store/test_store.py refuses one
def test_an_unfit_model_is_not_published_unless_that_is_allowed(tmp_path: Path) -> None:
    shutil.copytree(undisturbed() / "work", tmp_path / "work")
    (tmp_path / "work/last.json").unlink()
    with pytest.raises(ChallengerUnfit, match="is unfit and was not published"):
        retrained(tmp_path, allow_unfit=False)
    assert not (tmp_path / "store").exists()
    again = looked(tmp_path, allow_unfit=False)
    assert not again.triggers, "it is not made again at each look"
    assert again.basis.unfit_by
    assert looked(tmp_path, allow_unfit=False, seed=1).triggers, "made in another way, it may be fit"
    allowed = present(retrained(tmp_path))
    assert stored_versions(store_of(tmp_path)) == [allowed.manifest.version]
    assert retrained(tmp_path) is None


def test_games_with_a_problem_are_refused_before_anything_is_fitted(tmp_path: Path) -> None:
    games = shutil.copytree(simulated_seasons(), tmp_path / "games")
    plays = simulate_season(2034, games=200)  # enough to miss a team
    rows = [row for row in plays.to_pylist() if "BOS" not in {row["home"], row["away"]}]
    write_plays(games, 2034, plays.from_pylist(rows, plays.schema))
    with pytest.raises(GamesRefused, match=r"missing-teams: season 2034.*BOS 0"):
        retrained(tmp_path, sources=(str(games),))
    assert not list((tmp_path / "work").glob("bundle-*"))


def test_an_unreadable_description_of_the_last_challenger_is_named(tmp_path: Path) -> None:
    with open_work_folder(tmp_path / "work"):
        (tmp_path / "work/last.json").write_text("[")
    with pytest.raises(RetrainError, match=r"the last challenger's description in the work folder: .*remove it"):
        looked(tmp_path)


NINE = dict.fromkeys(range(2015, 2024), 1300)


@pytest.mark.parametrize(
    ("games", "options", "calibrate", "test", "span"),
    [
        (NINE, {}, (2022, 2023), (2022, 2023), 2),
        ({**NINE, 2024: 400}, {}, (2022, 2023, 2024), (2023, 2024), 2),  # the season in play
        ({**NINE, 2024: 200}, {}, (2022, 2023, 2024), (2022, 2023), 2),
        (dict.fromkeys(range(2021, 2024), 1300), {"calibration_games": 1000}, (2023,), (2023,), 1),
        ({2022: 1300, 2023: 1300}, {"calibration_games": 1000}, (2023,), (), 1),
        (NINE, {"test_seasons": 0}, (2022, 2023), (), 2),
        (dict.fromkeys((2015, 2016, 2017, 2018, 2023), 1300), {}, (2018, 2023), (2018,), 2),  # a gap
    ],
)
def test_the_newest_seasons_with_enough_games_calibrate_and_those_with_enough_before_are_tested(
    games: Mapping[int, int], options: dict[str, Any], calibrate: tuple[int, ...], test: tuple[int, ...], span: int
) -> None:
    plan = plan_seasons(games, RetrainSettings((), **options))
    assert (plan.calibrate, plan.test, plan.calibrate_seasons) == (calibrate, test, span)


def test_too_few_games_are_refused_with_their_number() -> None:
    with pytest.raises(DataError, match=r"1,900 games of 2 seasons; expected 2,000 to calibrate on"):
        plan_seasons({2022: 1300, 2023: 600}, RetrainSettings(()))


@given(st.dictionaries(st.integers(2000, 2030), st.integers(1, 1400), min_size=2), st.integers(1, 3000))
def test_every_season_is_trained_or_calibrated_on_once_in_order(games: dict[int, int], calibration: int) -> None:
    try:
        plan = plan_seasons(games, RetrainSettings((), calibration_games=calibration))
    except DataError:
        return
    assert [*plan.train, *plan.calibrate] == sorted(games)
    assert sum(games[season] for season in plan.calibrate) >= calibration
    assert sum(games[season] for season in plan.calibrate[1:]) < calibration
    for season in plan.test:
        assert {season - span for span in range(plan.calibrate_seasons + 1)} <= games.keys()


def test_a_result_is_found_again_by_its_inputs_until_a_run_with_others_ends(tmp_path: Path) -> None:
    with open_work_folder(tmp_path):
        (tmp_path / ".bundle.x").mkdir()
    (tmp_path / ".bundle.x/lstm.npz").write_text("half")
    with open_work_folder(tmp_path) as work:
        assert [path.name for path in tmp_path.iterdir()] == [".retrain.lock"], "what a killed process left is removed"
        work.path("backtest", games="a").write_text("of a")
        with pytest.raises(RetrainRunning, match="another retrain is running there"), open_work_folder(tmp_path):
            pytest.fail("two have it open")
    with open_work_folder(tmp_path) as work:
        assert work.path("backtest", games="a").read_text() == "of a"
    with open_work_folder(tmp_path) as work:
        new = work.path("backtest", games="b")
        assert (new.exists(), work.last) == (False, None)
        new.mkdir()
        (tmp_path / "models").mkdir()  # a store within the work folder
        work.finish("described")
        assert work.last == b"described\n"
    assert {path.name for path in tmp_path.iterdir()} == {".retrain.lock", "last.json", "models", new.name}


@pytest.mark.parametrize("name", [".git", ".lock"])  # a repository, and the plays that a fetch received
def test_a_folder_in_other_use_is_refused_and_keeps_what_it_has(tmp_path: Path, name: str) -> None:
    """Formerly, `--work .` removed the hidden files of the folder, and after a retrain all others."""
    (tmp_path / name).mkdir()
    with pytest.raises(RetrainError, match=rf"has \{name} and is no work folder"), open_work_folder(tmp_path):
        pytest.fail("it was opened")
    assert [path.name for path in tmp_path.iterdir()] == [name]
