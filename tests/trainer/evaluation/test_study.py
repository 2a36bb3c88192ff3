"""Studies by the command: choice and verdict, looks, resumption, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.support.builders.bundles import quick_recipe, simulated_seasons, walked_forward
from tests.trainer.harness import run

PLAN = """
choose = "2033"
judge = "2034"
forecaster = "lstm"
calibrate_seasons = 1
seeds = [0]

[recipe]
prototypes = 50
rating_steps = 6
dejavu = { recencies = [12], neighbours = [25], minutes = [18] }

[recipe.lstm]
epochs = 3
hidden = 8

[grid]
"lstm.epochs" = [1, 3]
"""
"""A study whose base is the quick recipe, of which the folds are there."""


def written(folder: Path, plan: str = PLAN) -> Path:
    path = folder / "grid.toml"
    path.write_text(plan)
    return path


@pytest.mark.nightly
def test_a_recipe_is_chosen_on_some_seasons_and_judged_on_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = simulated_seasons(), tmp_path / "out"
    shutil.copytree(walked_forward(), out / quick_recipe().digest)
    command = ("study", written(tmp_path), "--data", data, "--out", out, "--jobs", "1", "--json")
    assert run(*command) == 0
    document = json.loads(capsys.readouterr().out)
    choice, verdict = document["choice"], document["verdict"]
    assert (choice["seasons"], choice["looks"], verdict["seasons"]) == ([2033], 1, [2034])
    assert {each["recipe"] for each in choice["scores"]} == {"base", "lstm.epochs=1"}
    scores = [each["crps"] for each in choice["scores"]]
    assert scores == sorted(scores)
    assert choice["persistence"] > 0
    assert document["chosen"] == choice["scores"][0]["recipe"]
    assert {each["recipe"] for each in verdict["scores"]} == {"base", document["chosen"]}
    for part in (choice, verdict):
        by_name = {each["recipe"]: each for each in part["scores"]}
        for name, each in by_name.items():
            if name != "base":
                assert each["difference"]["value"] == pytest.approx(each["crps"] - by_name["base"]["crps"])
    assert {path.name for path in out.iterdir()} >= {"study.json", "study.html", "study.md", "stages"}
    assert json.loads((out / "study.json").read_text()) == document
    folds = {path: path.stat().st_mtime_ns for path in out.rglob("fold-*.npz")}
    assert len(folds) == 3 + (document["chosen"] != "base")  # two recipes choose, one or two are judged

    # Again: all folds are there, and nothing more was looked at.
    assert run(*command) == 0
    assert json.loads(capsys.readouterr().out) == document
    assert {path: path.stat().st_mtime_ns for path in out.rglob("fold-*.npz")} == folds

    # The same recipes by another forecaster are another look: the intervals allow for what the first one has seen.
    looks = json.loads((tmp_path / "looks.json").read_text())
    assert [look.partition(" ")[2] for look in looks["2033"]] == ["lstm, seeds [0], 1 to calibrate"]
    other = tmp_path / "other.toml"
    other.write_text(PLAN.replace('"lstm"\n', '"mean"\n'))
    assert run("study", other, *command[2:]) == 0
    assert json.loads(capsys.readouterr().out)["choice"]["looks"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('judge = "2034"', 'judge = "2033-2034"'), "judge: has 2033, which also chooses"),
        (('judge = "2034"', ""), "judge: field required"),
        (('judge = "2034"', 'judge = "2032"'), "judge: has 2032; expected seasons after 2033"),
        (('judge = "2034"', "judge = [2034]"), 'judge: expected a text such as "2019-2021"'),
        (('judge = "2034"', 'judge = "x"'), "judge: 'x'"),
        (('"lstm.epochs" = [1, 3]', '"lstm.epoch" = [2, 3]'), "lstm.epoch: is no setting; did you mean lstm.epochs?"),
        (('"lstm.epochs" = [1, 3]', '"lstm.epochs" = ["2"]'), "lstm.epochs: input should be a valid integer"),
        (
            ('"lstm.epochs" = [1, 3]', '"prototypes.x" = [2]'),
            "grid: prototypes.x: prototypes has no settings of its own",
        ),
        (('"lstm.epochs" = [1, 3]', ""), "grid: dictionary should have at least 1 item"),
        (("seeds = [0]", "seeds = []"), "seeds: tuple should have at least 1 item"),
        (('forecaster = "lstm"', "forecastr = 1"), "forecastr: is no setting; did you mean forecaster?"),
        (("seeds = [0]", "[lstm]"), "lstm: is a setting of the recipe; expected it there: recipe.lstm"),
        (
            ('forecaster = "lstm"', 'forecaster = "lines"'),
            "forecaster: there is no 'lines'; expected one of served, ",
        ),
    ],
)
def test_a_study_that_cannot_be_is_refused_with_its_field(
    change: tuple[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = written(tmp_path, PLAN.replace(*change))
    assert run("study", plan, "--data", simulated_seasons(), "--out", tmp_path / "out") == 1
    told = capsys.readouterr().err
    assert "grid.toml: " in told
    assert message in told
    assert not (tmp_path / "looks.json").exists()
