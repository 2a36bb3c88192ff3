"""Commands that make and judge models, end to end: fit, evaluate, backtest, simulate; recipes and missing extras."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.bundles import (
    SEASON_GAMES,
    quick_recipe,
    simulated_seasons,
    small_bundle,
    small_bundle_folder,
    walked_forward,
)
from tests.support.harness.documents import ROOT, blocks
from tests.trainer.harness import QUICK_RECIPE, backtest_of, run, told

from dejavu_store.bundle import load_bundle, read_manifest
from dejavu_trainer.data.games import load_games
from dejavu_trainer.data.plays import write_plays
from dejavu_trainer.data.simulate import simulate_season
from dejavu_trainer.evaluation.backtest import seasons_needed
from dejavu_trainer.pipeline import refresh_ratings, results_of
from dejavu_trainer.training.recipe import TrainingConfig, parse_recipe


def keys(document: dict[str, Any]) -> Iterator[str]:
    """Yield all keys of a document, nested ones included."""
    for key, value in document.items():
        yield key
        if isinstance(value, dict):
            yield from keys(value)


@pytest.mark.nightly  # by day, tests/trainer/test_pipeline.py fits one
def test_fit_replaces_a_bundle_and_says_what_it_made(tmp_path: Path) -> None:
    before = small_bundle(tmp_path / "b")
    tested = backtest_of(tmp_path, replace(quick_recipe(), weights={"dejavu": 0.25, "lstm": 0.125}))
    (tmp_path / "r.toml").write_text(f"{QUICK_RECIPE}weights = {{ dejavu = 0.25, lstm = 0.125 }}\n")
    arguments = ("--data", simulated_seasons(), "--train", "2031", "--calibrate", "2032", "--out", tmp_path / "b")
    options = ("--backtest", tested, "--config", tmp_path / "r.toml", "--seed", 5, "--json")
    done = told("fit", *arguments, *options)
    document = done.document
    bundle = load_bundle(tmp_path / "b", allow_unfit=True)
    assert document["model_version"] == bundle.version != before
    assert {each["weight"] for each in document["weights"]} == {0.625, 0.25, 0.125}
    assert (document["train_seasons"], document["train_games"]) == ([2031], SEASON_GAMES)
    explained = set(re.findall(r"`([^`\n]+)`", (ROOT / "docs" / "training.md").read_text()))
    assert set(keys(document)) <= explained


def test_simulate_does_not_write_over_a_season_unless_told(tmp_path: Path) -> None:
    arguments = ("simulate", "--season", "2031", "--games", 5, "--out", tmp_path)
    assert run(*arguments) == 0
    first = load_games(tmp_path, [2031]).fingerprint
    refused = told(*arguments, "--seed", 1)
    assert (refused.code, "--overwrite" in refused.err) == (1, True)
    assert load_games(tmp_path, [2031]).fingerprint == first
    assert told(*arguments, "--seed", 1, "--overwrite", "--json").document["seasons"][0]["games"] == 5
    assert load_games(tmp_path, [2031]).fingerprint != first


def test_a_missing_extra_is_told_by_name() -> None:
    program = "import sys; sys.modules['pyarrow'] = None; from dejavu_trainer.__main__ import main; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "pyarrow is not installed" in done.stderr


def test_a_recipe_is_what_its_file_says() -> None:
    quick = quick_recipe()
    assert parse_recipe(asdict(quick), "quick") == quick
    assert parse_recipe({}, "empty") == TrainingConfig()
    documented, *_ = blocks("docs/training.md", "toml")
    assert parse_recipe(tomllib.loads(documented.text), "documented") == TrainingConfig(
        weights={"dejavu": 0.4, "lstm": 0.6}
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("rating_steps = 0", "rating_steps: input should be greater than or equal to 1"),
        ("dejavu = { lead = nan }", "dejavu.lead"),
        ("[weights]\ndejavu = 0.5\nlstm = 0.6", "weights: they must sum to 1 at most"),
        ("[weights]\ndejavu = -0.1\nlstm = 0.6", "weights.dejavu: input should be greater than or equal to 0"),
        ("[weights]\ngbm = 0.5", "weights.gbm: is no component; expected some of dejavu, lstm"),
        ("components = ['lstm', 'gbm']", "components: component gbm is not installed; install a package with"),
        ("components = ['../lstm']", "components.0: string should match pattern"),
        ("[lstm]\nhiden = 8", "lstm.hiden: is no setting; did you mean lstm.hidden?"),
        ("rating_steps", "is not TOML"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_a_usage_error(content: str, message: str, tmp_path: Path) -> None:
    (config := tmp_path / "r.toml").write_text(content)
    arguments = ("--data", ".", "--train", "2031", "--calibrate", "2032", "--out", "b", "--config", config)
    refused = told("fit", *arguments)
    assert refused.code == 2
    assert message in " ".join(refused.err.replace("│", " ").split())


def test_a_season_that_is_not_there_and_games_that_the_bundle_was_not_made_from_are_refused(tmp_path: Path) -> None:
    data = shutil.copytree(simulated_seasons(), tmp_path / "data")
    arguments = ("evaluate", "--data", data, "--bundle", small_bundle_folder(), "--season")
    missing = told(*arguments, "2035")
    assert (missing.code, "plays_2035.parquet" in missing.err) == (1, True)
    write_plays(data, 2033, simulate_season(2033, games=200, seed=1))
    refused = told(*arguments, "2034")
    assert (refused.code, "are not those that bundle" in refused.err, refused.out) == (1, True, "")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "small"
    small_bundle(folder)
    return folder


def evaluated(*options: object) -> str:
    """Return the output of the command."""
    with redirect_stdout(io.StringIO()) as out:
        assert run("evaluate", *options) == 0
    return out.getvalue()


@pytest.fixture(scope="module")
def unseen(bundle: Path) -> dict[str, Any]:
    """The document for a season that the bundle has not seen."""
    document: dict[str, Any] = json.loads(
        evaluated("--data", simulated_seasons(), "--season", "2034", "--bundle", bundle, "--json")
    )
    return document


@pytest.mark.nightly
def test_people_are_warned_of_a_season_that_the_bundle_has_seen(bundle: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    out = evaluated("--data", simulated_seasons(), "--season", "2032", "--bundle", bundle, "--html", page)
    html = page.read_text()
    assert "!! The model was TRAINED on this season" in out
    assert "The model was TRAINED on this season" in html
    assert html.startswith("<!doctype html>")
    assert "Halftime, all minutes" in out
    assert "Persistence" in out


@pytest.mark.nightly
def test_refreshed_ratings_do_not_forecast_the_season_that_they_learned_from(
    bundle: Path, unseen: dict[str, Any], tmp_path: Path
) -> None:
    games = load_games(simulated_seasons(), seasons_needed(load_bundle(bundle, allow_unfit=True), 2034))
    refresh_ratings(bundle, results_of(games), tmp_path / "refreshed", date(2034, 6, 30))
    options = ("--data", simulated_seasons(), "--season", "2034", "--bundle", tmp_path / "refreshed")
    document = json.loads(evaluated(*options, "--json"))
    assert (unseen["season"], unseen["seen"], document["seen"]) == (2034, None, "ratings")
    assert document["figures"] == unseen["figures"]
    day = read_manifest(tmp_path / "refreshed").ratings.date
    assert f"!! The bundle's ratings know results up to {day}, after this season began" in evaluated(*options)


@pytest.mark.nightly
def test_a_walk_forward_leaves_its_reports_and_the_same_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes over an existing fold, as after an interruption, which saves seconds."""
    out = tmp_path / "walk"
    out.mkdir()
    [fold] = walked_forward().glob("fold-2033-*")
    shutil.copy(fold, out)
    (recipe := tmp_path / "quick.toml").write_text(QUICK_RECIPE)
    options = ("--config", recipe, "--calibrate-seasons", "1", "--jobs", "1")
    command = ("backtest", "--data", simulated_seasons(), "--test", "2033", "--out", out, *options)
    assert run(*command) == 0
    capsys.readouterr()
    assert {"backtest.json", "backtest.html", "backtest.md", "fan-chart.svg"} < {path.name for path in out.iterdir()}
    document = json.loads((out / "backtest.json").read_text())
    assert document["recipe"] == quick_recipe().digest
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert run(*command, "--json") == 0
    assert json.loads(capsys.readouterr().out) == document
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
