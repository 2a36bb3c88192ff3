"""Walk-forwards: each season by what was known before; compared game by game, and in studies of recipes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.builders.bundles import (
    SEASON_GAMES,
    quick_recipe,
    simulated_games,
    simulated_seasons,
    walked_forward,
)
from tests.support.builders.folds import figure, walk_fold
from tests.support.harness.documents import ROOT
from tests.support.harness.present import present
from tests.support.harness.real_games import real_folder
from tests.trainer.harness import QUICK_RECIPE, run

from dejavu_feed.errors import DataError
from dejavu_models.types import HORIZONS
from dejavu_trainer.evaluation.backtest import Fold, backtest
from dejavu_trainer.evaluation.figures import MARGINS, Table, read_table
from dejavu_trainer.evaluation.study import BASELINE, FIRST, SECOND, compare_walks, read_walk

RECIPE = quick_recipe()


def test_each_season_is_tested_on_what_was_known_before() -> None:
    folds = [read_table(path) for path in sorted(walked_forward().iterdir())]
    names = ("season", "train_seasons", "calibration_seasons")
    said = [tuple(fold.columns[f"fold.{name}"][0] for name in names) for fold in folds]
    assert said == [(2033, "2031", "2032"), (2034, "2031 2032", "2033")]
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
    others = Fold(replace(RECIPE, rating_steps=7), 2033, 1), Fold(RECIPE, 2033, 2), Fold(RECIPE, 2033, 1, seed=1)
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
    program = [sys.executable, *command, "--out", str(tmp_path)]
    made = subprocess.run(program, check=True, stdout=subprocess.PIPE, timeout=4 * 3600)
    document = json.loads(made.stdout)
    assert sum(fold["games"] for fold in document["folds"]) > 6000
    stated = json.loads((ROOT / "docs" / "evaluation.json").read_text())
    for kind, checks in (("aims", document["promises"]), ("verdict", document["verdict"]["checks"])):
        assert {check["name"]: check["passed"] for check in checks} == {
            check["check"]: check["passed"] for check in stated[kind]
        }
    assert document["verdict"]["fit"] == stated["fit"], document["verdict"]["reason"]


def of_games(fold: Table, kept: NDArray[np.intp]) -> Table:
    """Return a fold with some games, in this order."""
    columns = dict(fold.columns)
    for name, column in fold.columns.items():
        head, _, last = name.partition(".")
        if head == "game":
            columns[name] = column[kept]
        elif head != "fold":
            by_game = column.reshape(len(fold), -1)[kept]
            columns[name] = (
                np.zeros_like(by_game) + np.arange(len(kept))[:, None] if last == "game" else by_game
            ).ravel()
    return Table(columns)


def test_figures_are_those_of_the_games_in_both() -> None:
    fold, wide = walk_fold(), walk_fold(scale=2.0)
    figures = compare_walks(
        {2033: fold}, {2033: of_games(wide, np.arange(10, 300)[::-1]), 2034: wide}, "served", "served"
    )
    assert figures.table.columns["fold.season"].tolist() == [2033]
    kept = of_games(fold, np.arange(10, 300)), of_games(wide, np.arange(10, 300))
    for target in MARGINS.values():
        assert figures.games(target) == 290
        for metric in ("crps", "winkler_95", "coverage_95"):
            sides = zip((FIRST, SECOND, BASELINE), (*kept, kept[0]), ("served", "served", BASELINE), strict=True)
            for side, table, name in sides:
                losses = present(table.losses(target, name, metric))
                assert figure(figures, target, side, metric).value == pytest.approx(losses.mean())


def test_forecasters_are_compared_by_what_both_have() -> None:
    walk = {2033: walk_fold()}
    same, other = (compare_walks(walk, walk, "served", name) for name in ("served", "logistic"))
    for target in MARGINS.values():
        assert figure(same, target, FIRST, "crps", SECOND, compare="difference") == (0, 0, 0)
        assert other.get(target, FIRST, "crps", SECOND) is None
        assert other.get(target, FIRST, "brier", SECOND) is not None


def test_intervals_of_more_looks_are_wider() -> None:
    walk = {2033: walk_fold()}
    widths = []
    for looks in (1, 5, 40):
        found = figure(compare_walks(walk, walk, "served", "linear", looks), "final", FIRST, "crps", SECOND)
        widths.append(found.upper - found.lower)
    assert widths[0] < widths[1] < widths[2]


def test_what_cannot_be_paired_is_refused(tmp_path: Path) -> None:
    fold = walk_fold()
    outcomes = {f"{each.value}.outcome": fold.of(each.value, "outcome") + np.int16(1) for each in HORIZONS}
    for walk, name, message in (
        ({2034: fold}, "served", "no season is in both: 2033 and 2034"),
        ({2033: fold}, "oracle", "has no forecaster 'oracle'; expected one of frozen"),
        ({2033: Table(fold.columns | outcomes)}, "served", "has another result"),
        ({2033: of_games(fold, np.array([4]))}, "served", "fewer than two games are in both"),
    ):
        with pytest.raises(DataError, match=message):
            compare_walks({2033: fold}, walk, "served", name)
    with pytest.raises(DataError, match="has no folds"):
        read_walk(tmp_path)
    for name in ("fold-2033-0.npz", "fold-2033-1.npz"):
        (tmp_path / name).write_bytes(fold.to_bytes())
    with pytest.raises(DataError, match="several folds of 2033"):
        read_walk(tmp_path)


@pytest.mark.nightly
def test_each_recipe_is_compared_with_the_first_as_compare_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = simulated_seasons(), tmp_path / "out"
    shutil.copytree(walked_forward(), out / quick_recipe().digest)
    recipes = tmp_path / "base.toml", tmp_path / "short.toml"
    recipes[0].write_text(QUICK_RECIPE)
    where = ("--data", data, "--test", "2033-2034", "--calibrate-seasons", "1", "--jobs", "1")
    command = ("study", *recipes, *where, "--out", out, "--forecaster", "lstm", "--json")
    recipes[1].write_text(QUICK_RECIPE)
    assert run(*command) == 1, "the same recipe cannot differ"
    recipes[1].write_text(QUICK_RECIPE.replace("epochs = 3", "epochs = 1"))
    capsys.readouterr()
    assert run(*command) == 0
    document = json.loads(capsys.readouterr().out)
    [other] = document["compared"]
    assert (document["base"], other["recipe"]) == tuple(map(str, recipes))
    assert document["digest"] == quick_recipe().digest
    walks = [out / digest for digest in (other["digest"], document["digest"])]
    assert run("compare", *walks, "--forecaster", "lstm", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"metrics": other["metrics"]}
    assert any(each["difference"][0] for each in other["metrics"])
