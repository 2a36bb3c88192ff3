"""Studies by the command: comparison with the base, resumption, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.support.builders.bundles import quick_recipe, simulated_seasons, walked_forward
from tests.trainer.harness import QUICK_RECIPE, run


def written(folder: Path, **recipes: str) -> list[Path]:
    paths = [folder / f"{name}.toml" for name in recipes]
    for path, recipe in zip(paths, recipes.values(), strict=True):
        path.write_text(recipe)
    return paths


@pytest.mark.nightly
def test_each_recipe_is_compared_with_the_first_as_compare_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = simulated_seasons(), tmp_path / "out"
    shutil.copytree(walked_forward(), out / quick_recipe().digest)
    recipes = written(tmp_path, base=QUICK_RECIPE, short=QUICK_RECIPE.replace("epochs = 3", "epochs = 1"))
    where = ("--data", data, "--test", "2033-2034", "--calibrate-seasons", "1", "--jobs", "1")
    command = ("study", *recipes, *where, "--out", out, "--forecaster", "lstm", "--json")
    assert run(*command) == 0
    document = json.loads(capsys.readouterr().out)
    [other] = document["compared"]
    assert (document["base"], other["recipe"]) == tuple(map(str, recipes))
    assert document["digest"] == quick_recipe().digest
    walks = [out / digest for digest in (other["digest"], document["digest"])]
    assert run("compare", *walks, "--forecaster", "lstm", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"metrics": other["metrics"]}
    assert any(each["difference"]["value"] for each in other["metrics"])

    # Again: all folds are there.
    folds = {path: path.stat().st_mtime_ns for path in out.rglob("fold-*.npz")}
    assert len(folds) == 4
    assert run(*command) == 0
    assert json.loads(capsys.readouterr().out) == document
    assert {path: path.stat().st_mtime_ns for path in out.rglob("fold-*.npz")} == folds


@pytest.mark.parametrize(
    ("other", "forecaster", "message"),
    [
        (QUICK_RECIPE, "documents", "base.toml and {other} cannot differ: they are the same recipe, "),
        (
            QUICK_RECIPE.replace("epochs = 3", "epochs = 1").replace("nearest = 10", "nearest = 9"),
            "base",
            "base.toml and {other} cannot differ: base depends only on rating_steps, which they have in common",
        ),
        (
            QUICK_RECIPE.replace("hidden = 8", "hidden = 9"),
            "dejavu",
            "base.toml and {other} cannot differ: dejavu depends only on dejavu, rating_steps, which they",
        ),
        (
            QUICK_RECIPE.replace("nearest = 10", "nearest = 9"),
            "lstm",
            "base.toml and {other} cannot differ: lstm depends only on lstm, rating_steps, which they have in common",
        ),
        (
            QUICK_RECIPE.replace("epochs", "epoch"),
            "lstm",
            "{other}: lstm.epoch: is no setting; did you mean lstm.epochs?",
        ),
        (
            QUICK_RECIPE.replace("nearest = 10", "nearest = 9"),
            "lines",
            "there is no forecaster 'lines' of recipes; expected one of served, ",
        ),
        (
            QUICK_RECIPE.replace("nearest = 10", "nearest = 9"),
            "linear",
            "there is no forecaster 'linear' of recipes; expected one of served, ",
        ),
        (None, "served", "a study compares recipes with the first; expected two or more"),
    ],
)
def test_a_study_that_cannot_find_a_difference_is_refused_with_its_reason(
    other: str | None, forecaster: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipes = written(tmp_path, base=QUICK_RECIPE, **({} if other is None else {"other": other}))
    where = ("--data", simulated_seasons(), "--test", "2033", "--out", tmp_path / "out")
    assert run("study", *recipes, *where, "--forecaster", forecaster) == 1
    assert message.format(other=tmp_path / "other.toml") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
