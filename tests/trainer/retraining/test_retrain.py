"""A retrain publishes one challenger, the same however often it is stopped, or nothing."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.bundles import (
    SEASON_GAMES,
    quick_recipe,
    simulated_games,
    simulated_seasons,
    small_bundle_folder,
    walked_forward,
)
from tests.support.builders.made_once import made_once
from tests.support.harness.stores import stored_versions

from dejavu_common.rich_console import Console
from dejavu_models.manifest import LineageRecord
from dejavu_store.bundle import read_manifest
from dejavu_store.bundle_store import ModelStore
from dejavu_trainer import pipeline
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.backtest import Fold
from dejavu_trainer.evaluation.table import Table
from dejavu_trainer.lineage import code_version, libraries
from dejavu_trainer.reports.runs import print_due
from dejavu_trainer.retraining.retrain import ChallengerUnfit, GamesRefused, open_retrain
from dejavu_trainer.retraining.settings import Challenger, RetrainSettings
from dejavu_trainer.retraining.triggers import TriggerKind, TriggerSettings
from dejavu_trainer.retraining.work_folder import open_work_folder
from dejavu_trainer.training.calibrate import CalibratedModels, fit_recipe
from dejavu_trainer.training.recipe import TrainingConfig


def settings_in(folder: Path, **changes: Any) -> RetrainSettings:
    settings = RetrainSettings(
        sources=(str(simulated_seasons()),),
        work=folder / "work",
        store=str(folder / "store"),
        parent=small_bundle_folder(),
        recipe=quick_recipe(),
        calibration_games=SEASON_GAMES,
        test_seasons=1,
        test_games=SEASON_GAMES,
        triggers=TriggerSettings(new_games=SEASON_GAMES, season_games=SEASON_GAMES),
        allow_unfit=True,
        today=lambda: date(2035, 1, 1),
    )
    return replace(settings, **changes)


def retrained(settings: RetrainSettings) -> Challenger | None:
    with open_retrain(settings) as retrain:
        due = retrain.due()
        return retrain.run(due) if due.triggers else None


def undisturbed() -> Path:
    """Return a folder in which a retrain has ended, with its work folder and its store.

    Its fold is that of `walked_forward`: it has the same inputs, and so the same name.
    """

    def make(folder: Path) -> None:
        with open_work_folder(folder / "work") as work:
            folds = work.path(f"folds-{work.key(code=code_version(), libraries=libraries())}")
            folds.mkdir()
            [fold] = walked_forward().glob("fold-2034-*")
            shutil.copy(fold, folds)
        assert retrained(settings_in(folder)) is not None

    return made_once("undisturbed-retrain", make)


def store_of(folder: Path) -> ModelStore:
    return ModelStore.open(folder / "store", allow_unfit=True)


def test_the_challenger_is_in_the_store_and_says_where_it_comes_from() -> None:
    [version] = stored_versions(store_of(undisturbed()))
    manifest = store_of(undisturbed()).manifest(version)
    reason = "new season 2034; new games"
    assert manifest.lineage == LineageRecord(
        parent_version=read_manifest(small_bundle_folder()).version, reason=reason, code_version=code_version()
    )
    assert manifest.train.seasons == (2031, 2032, 2033)
    assert manifest.calibrate.seasons == (2034,)
    assert manifest.data_fingerprint == simulated_games().fingerprint
    assert manifest.verdict.seasons == (2034,)
    assert store_of(undisturbed()).load(version).version == version


def test_a_challenger_that_was_published_is_not_made_again_until_there_are_newer_games(tmp_path: Path) -> None:
    shutil.copytree(undisturbed(), tmp_path / "again")
    with open_retrain(settings_in(tmp_path / "again")) as retrain:
        due = retrain.due()
    assert not due.triggers
    assert due.newer == 0
    assert [due.compared_with] == stored_versions(store_of(undisturbed()))
    assert due.parent == read_manifest(small_bundle_folder()).version


class Killed(BaseException):
    """Stands in for a kill at any point; no code of the retrain may clean up after it."""


def fit_at_most_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reuse the models and scores of a killed attempt if games and settings are the same.

    Other tests assert that equal games and settings give equal models and scores.
    """
    models, folds = dict[str, CalibratedModels](), dict[str, Table]()
    run = Fold.run

    def fit(train: Games, calibrate: Games, recipe: TrainingConfig, seed: int, *others: Any) -> CalibratedModels:
        key = f"{train.fingerprint} {calibrate.fingerprint} {recipe.digest} {seed}"
        if key not in models:
            models[key] = fit_recipe(train, calibrate, recipe, seed, *others)
        return models[key]

    def score(fold: Fold, games: Games, *others: Any) -> Table:
        if (key := fold.key(games)) not in folds:
            folds[key] = run(fold, games, *others)
        return folds[key]

    monkeypatch.setattr(pipeline, "fit_recipe", fit)
    monkeypatch.setattr(Fold, "run", score)


@pytest.mark.nightly
def test_killed_at_any_move_it_goes_on_to_the_same_challenger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moves = [0.0]

    def counted(name: str) -> None:
        original = getattr(Path, name)

        def move(path: Path, target: Path) -> Any:
            # A move of the store is one of many small ones; one of the work folder ends a step.
            moves[0] -= 1 if tmp_path / "work" in Path(target).parents else 0
            moves[0] -= 0.03 if tmp_path / "store" in Path(target).parents else 0
            if moves[0] < 0:
                raise Killed
            return original(path, target)

        monkeypatch.setattr(Path, name, move)

    for name in ("replace", "rename"):
        counted(name)
    [version] = stored_versions(store_of(undisturbed()))
    fit_at_most_once(monkeypatch)
    kills = 0
    for _ in range(20):
        moves[0] = 1
        try:
            challenger = retrained(settings_in(tmp_path))
        except Killed:
            assert stored_versions(store_of(tmp_path)) in ([], [version])
            kills += 1
            continue
        break
    else:
        pytest.fail("it got nowhere")
    assert kills >= 4
    assert challenger is None or challenger.model_version == version
    assert stored_versions(store_of(tmp_path)) == [version]
    assert store_of(tmp_path).is_complete(version)
    assert {path.name for path in (tmp_path / "work").iterdir()} == {
        path.name for path in (undisturbed() / "work").iterdir()
    }


@pytest.mark.nightly  # by day, test_publish.py refuses one
def test_an_unfit_model_is_not_published_unless_that_is_allowed(tmp_path: Path) -> None:
    shutil.copytree(undisturbed() / "work", tmp_path / "work")
    (tmp_path / "work/last.json").unlink()
    with pytest.raises(ChallengerUnfit, match="is unfit and was not published"):
        retrained(settings_in(tmp_path, allow_unfit=False))
    assert not (tmp_path / "store").exists()
    # Nor is it made again at each look: only once there are games enough for another one.
    with open_retrain(settings_in(tmp_path, allow_unfit=False)) as again:
        due = again.due()
        assert (due.triggers, due.unfit) == ((), True)
        print_due(Console(file=(printed := io.StringIO()), width=200), due)
        assert "a challenger that was found unfit" in printed.getvalue()
    with open_retrain(settings_in(tmp_path, allow_unfit=False, seed=1)) as another:
        assert another.due().triggers, "made in another way, it may be fit"
    allowed = retrained(settings_in(tmp_path))
    assert allowed is not None
    assert stored_versions(store_of(tmp_path)) == [allowed.model_version]
    assert retrained(settings_in(tmp_path)) is None


def test_games_with_a_problem_are_refused_before_anything_is_fitted(tmp_path: Path) -> None:
    from dejavu_trainer.data.plays import write_plays
    from dejavu_trainer.data.simulate import simulate_season

    games = shutil.copytree(simulated_seasons(), tmp_path / "games")
    plays = simulate_season(2034, games=200)  # enough to miss a team
    rows = [row for row in plays.to_pylist() if "BOS" not in {row["home"], row["away"]}]
    write_plays(games, 2034, plays.from_pylist(rows, plays.schema))
    settings = settings_in(tmp_path, sources=(str(games),), triggers=TriggerSettings(new_games=SEASON_GAMES))
    with pytest.raises(GamesRefused, match=r"missing-teams: season 2034.*BOS 0"):
        retrained(settings)
    assert not list((tmp_path / "work").glob("bundle-*"))


def test_without_a_trigger_it_can_be_asked_for_with_a_reason(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, triggers=TriggerSettings(new_games=9999), today=lambda: date(2030, 1, 1))
    with open_retrain(settings) as retrain:
        assert not retrain.due().triggers
    with open_retrain(replace(settings, reason="a try")) as retrain:
        [trigger] = retrain.due().triggers
    assert (trigger.kind, trigger.reason) == (TriggerKind.ASKED_FOR, "a try")
