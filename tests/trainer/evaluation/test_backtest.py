from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.builders.bundles import SEASON_GAMES, quick_recipe, simulated_games, walked_forward
from tests.support.builders.folds import walk_fold
from tests.support.harness.documents import ROOT
from tests.support.harness.real_events import real_folder

from dejavu_feed.errors import DataError
from dejavu_trainer.evaluation.backtest import Fold, backtest
from dejavu_trainer.evaluation.table import TIP_OFF, read_table

RECIPE = quick_recipe()


def test_each_season_is_tested_on_what_was_known_before() -> None:
    folds = [read_table(path) for path in sorted(walked_forward().iterdir())]
    said = {
        name: [fold.columns[f"fold.{name}"][0] for fold in folds]
        for name in ("season", "train_seasons", "calibration_seasons")
    }
    assert said == {
        "season": [2033, 2034],
        "train_seasons": ["2031", "2031 2032"],
        "calibration_seasons": ["2032", "2033"],
    }
    assert [len(fold) for fold in folds] == [SEASON_GAMES] * 2
    assert all(np.isfinite(fold.of("final", "served.crps")).all() for fold in folds)


def test_later_games_change_nothing() -> None:
    """The fold of 2033 has the same key without later games, and the same content with their results inverted."""
    games = simulated_games()
    later = games.season == 2034
    turned = replace(
        games,
        differentials=np.where(later[:, None], -games.differentials, games.differentials),
        final=np.where(later, -games.final, games.final),
    )
    fold = Fold(RECIPE, 2033, 1)
    assert fold.key(games) == fold.key(turned) == fold.key(games.select(~later))
    assert fold.run(turned).to_bytes() == next(walked_forward().glob("fold-2033-*")).read_bytes()


def test_carried_ratings_know_the_games_before_and_frozen_ones_those_before_the_season() -> None:
    fold = read_table(next(walked_forward().glob("fold-2034-*")))
    date, carried, frozen = (
        fold.columns[name] for name in ("game.date", *(f"{TIP_OFF}.{each}.point" for each in ("carried", "frozen")))
    )
    first = date == date.min()
    # On the first day of the season, both are based on the same games and shrunk to the mean equally.
    assert carried[first] == pytest.approx(frozen[first], abs=1e-4)
    assert np.abs(carried[~first] - frozen[~first]).max() > 1


def test_stored_folds_are_taken_as_they_are(tmp_path: Path) -> None:
    games, stored, rest = simulated_games(), walk_fold(), tmp_path / ".fold-2033-0.npz.abc"
    path = tmp_path / f"fold-2033-{Fold(RECIPE, 2033, 1).key(games)}.npz"
    path.write_bytes(stored.to_bytes())
    rest.touch()
    [found] = backtest(games, [Fold(RECIPE, 2033, 1)], tmp_path)
    assert found.to_bytes() == stored.to_bytes()
    assert [*tmp_path.iterdir()] == [path], "a partial file of a killed run is removed"


def test_what_a_fold_depends_on_names_its_file() -> None:
    games = simulated_games()
    fold = Fold(RECIPE, 2033, 1)
    others = [
        Fold(replace(RECIPE, rating_steps=7), 2033, 1),
        Fold(RECIPE, 2034, 1),
        Fold(RECIPE, 2033, 2),
        Fold(RECIPE, 2033, 1, seed=1),
    ]
    keys = [fold.key(games), fold.key(games.select(np.arange(1, len(games)))), *(each.key(games) for each in others)]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("season", "calibrate_seasons", "message"),
    [
        (2035, 1, "testing on 2035 requires games of 2035"),
        (2032, 1, "testing on 2032 requires a season before 2031 to train on"),
        (2031, 1, "testing on 2031 requires games of 2030"),
        (2033, 2, "testing on 2033 requires a season before 2031 to train on"),
    ],
)
def test_seasons_that_can_not_be_tested_are_told_before_any_work(
    tmp_path: Path, season: int, calibrate_seasons: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        backtest(simulated_games(), [Fold(RECIPE, season, calibrate_seasons)], tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.nightly
@pytest.mark.real_data
@pytest.mark.timeout(4 * 3600)
def test_the_walk_forward_on_real_games_gives_what_the_documents_say(data_dir: Path, tmp_path: Path) -> None:
    """Recomputes the seasons 2020 to 2024: the same checks pass and fail, and the verdict is the documented one."""
    folder = str(real_folder(data_dir))
    command = ["-m", "dejavu_trainer", "backtest", "--data", folder, "--test", "2020-2024", "--json"]
    made = subprocess.run(
        [sys.executable, *command, "--out", str(tmp_path)],
        check=True,
        stdout=subprocess.PIPE,
        timeout=4 * 3600,
    )
    document = json.loads(made.stdout)
    assert sum(fold["games"] for fold in document["folds"]) > 6000
    stated = json.loads((ROOT / "docs" / "evaluation.json").read_text())
    for kind, checks in (("aims", document["promises"]), ("verdict", document["verdict"]["checks"])):
        assert {check["name"]: check["passed"] for check in checks} == {
            check["check"]: check["passed"] for check in stated[kind]
        }
    assert document["verdict"]["fit"] == stated["fit"], document["verdict"]["reason"]
