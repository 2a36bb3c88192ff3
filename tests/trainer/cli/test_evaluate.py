from __future__ import annotations

import io
import json
import shutil
from contextlib import redirect_stdout
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.bundles import quick_recipe, simulated_seasons, small_bundle, walked_forward
from tests.trainer.harness import QUICK_RECIPE, run

from dejavu_store.bundle import load_bundle, read_manifest
from dejavu_trainer.data.games import load_games
from dejavu_trainer.data.plays import write_plays
from dejavu_trainer.data.simulate import simulate_season
from dejavu_trainer.evaluation.bundle import seasons_needed
from dejavu_trainer.refresh import refresh_ratings, results_of


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


def test_games_that_the_bundle_was_not_made_from_are_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for season in (2031, 2032, 2034):
        (tmp_path / f"plays_{season}.parquet").write_bytes(
            (simulated_seasons() / f"plays_{season}.parquet").read_bytes()
        )
    write_plays(tmp_path, 2033, simulate_season(2033, games=200, seed=1))
    assert run("evaluate", "--data", tmp_path, "--season", "2034", "--bundle", bundle) == 1
    out = capsys.readouterr()
    assert "are not those that bundle" in out.err
    assert not out.out


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
    assert "Walk-forward over 2033" in capsys.readouterr().out
    names = {path.name for path in out.iterdir()}
    assert {"backtest.json", "backtest.html", "backtest.md", "fan-chart.svg"} <= names
    assert len(names) == 5
    document = json.loads((out / "backtest.json").read_text())
    assert document["recipe"] == quick_recipe().digest
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert run(*command, "--json") == 0
    assert json.loads(capsys.readouterr().out) == document
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_seasons_that_cannot_be_tested_are_refused_by_name(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    walk = ("backtest", "--out", tmp_path / "walk", "--data")
    for command, code, message in (
        ((*walk, simulated_seasons(), "--test", "20-32"), 2, "--test"),
        (("evaluate", "--data", simulated_seasons(), "--season", "2035", "--bundle", bundle), 1, "plays_2035.parquet"),
        (
            ("evaluate", "--data", simulated_seasons(), "--season", "2031", "--bundle", bundle),
            1,
            "no games before 2031",
        ),
    ):
        assert run(*command) == code
        assert message in capsys.readouterr().err
