"""Commands that get games, end to end, with text, JSON and exit codes: fetch, import, and refresh off a service."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow.csv
import pytest
from tests.support.builders.plays_files import complete_hoopr, hoopr, written
from tests.support.fakes.stats_service import ATTEMPTS, StatsStandIn, season_of_games, status, truth
from tests.support.harness.documents import ROOT
from tests.trainer.harness import run, told

from dejavu_store.bundle import load_bundle, read_manifest
from dejavu_store.default_bundles import default_bundle, refreshed_bundle, served_bundle
from dejavu_trainer.data.fetch import RetryingClient
from dejavu_trainer.data.games import load_games
from dejavu_trainer.data.plays import read_plays
from dejavu_trainer.data.simulate import simulate_season

GAMES = season_of_games(3)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the waits, which no option disables."""
    client = partial(RetryingClient, spacing=0.0, first_wait=0.0, max_attempts=ATTEMPTS)
    monkeypatch.setattr("dejavu_trainer.cli.games.RetryingClient", client)


@pytest.fixture
def service() -> Iterator[StatsStandIn]:
    with StatsStandIn(list(GAMES)) as service:
        yield service


def test_it_says_what_it_wrote_and_what_could_not_be_had(service: StatsStandIn, tmp_path: Path) -> None:
    game = GAMES[0]
    service.faults[game.game_id] = [status(500)] * ATTEMPTS
    arguments = ("fetch", "--seasons", "2024-25", "--out", tmp_path, "--url", service.url)
    done = told(*arguments, "--json")
    document = done.document
    (season,) = document["seasons"]
    assert (done.code, document["stopped"]) == (1, "")
    assert (season["season"], season["file"], season["games"]) == ("2024-25", str(tmp_path / "plays_2025.parquet"), 4)
    assert (season["rows"], season["missing"][0]["game_id"]) == (len(truth(GAMES[1:])), game.game_id)
    explained = (ROOT / "docs" / "training.md").read_text()
    assert not [key for key in [*document, *season] if f"`{key}`" not in explained]
    assert "run the same command again to retry" in done.err.splitlines()[-1]
    assert told(*arguments).code == 0


GOOD = "game_id,type,home,away,elapsed_s,home_score,away_score\n202301010BOS,RS,BOS,BRK,60,2,0\n"


def test_what_was_exported_is_imported_unchanged_with_its_dates(tmp_path: Path) -> None:
    plays, path = simulate_season(2023, seed=1, games=5), tmp_path / "mine.csv"
    pyarrow.csv.write_csv(plays, path)
    assert run("import", path, "--season", 2023, "--out", tmp_path / "data") == 0
    imported = read_plays(tmp_path / "data" / "plays_2023.parquet")
    assert imported.select(plays.column_names).to_pylist() == plays.to_pylist()
    assert {(row["game_id"][:8], f"{row['game_date']:%Y%m%d}") for row in imported.to_pylist()} == {
        (game_id[:8],) * 2 for game_id in plays["game_id"].to_pylist()
    }


def test_a_season_that_was_imported_is_loaded_for_training(tmp_path: Path) -> None:
    rows = complete_hoopr(*(f"2024-01-{day:02d}" for day in range(1, 9)))
    rows += hoopr(game_id=99, season_type=1)
    path = written(tmp_path / "pbp.csv", rows)
    arguments = ("import", path, "--from", "hoopr", "--season", 2024, "--out", tmp_path / "data")
    done = told(*arguments, "--json")
    document = done.document
    assert len(document["not_imported"]) == 1
    assert (document["games"], document["events"], document["players"], document["left_out"]) == (8, 8, 0, 0)
    assert "left out 1 game (99)" in done.err
    games = load_games(tmp_path / "data", [2024])
    assert games.game_id.tolist() == [f"2024010{day}0DEN" for day in range(1, 9)]


def test_wrong_rows_are_told_together_and_nothing_is_written(tmp_path: Path) -> None:
    bad = "202301010BOS,RS,BOS,BRK,30,2,0\n"
    (tmp_path / "mine.csv").write_text(GOOD + bad * 30)
    arguments = ("import", tmp_path / "mine.csv", "--season", 2023, "--out", tmp_path / "data")
    refused = told(*arguments, "--json")
    problems = refused.document["problems"]
    assert (refused.code, len(problems)) == (1, 30)
    assert (problems[0]["row"], problems[0]["line"], problems[0]["column"]) == (2, 3, "elapsed_s")
    assert not (tmp_path / "data").exists()


SHIPPED = read_manifest(default_bundle())
REFRESHED = season_of_games(season=SHIPPED.ratings.season)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_the_shipped_bundle_with_the_finals_since_is_left_where_servers_find_it_and_its_document_is_explained() -> None:
    with StatsStandIn(list(REFRESHED)) as service:
        done = told("refresh", "--url", service.url, "--json")
    document = done.document
    assert served_bundle() == refreshed_bundle()
    assert (document["bundle"], document["games"]) == (str(refreshed_bundle()), len(REFRESHED))
    assert load_bundle(served_bundle()).manifest.ratings.date == max(game.day for game in REFRESHED)
    explained = (ROOT / "docs" / "training.md").read_text()
    assert not [key for key in document if f"`{key}`" not in explained]
    assert [each.what for each in service.asked if each.what.isdigit()] == [REFRESHED[1].game_id]  # on neutral ground


def test_off_line_it_says_so_and_nothing_is_changed() -> None:
    done = told("refresh", "--url", "http://127.0.0.1:9")
    assert (done.code, "no connection to 127.0.0.1:9" in done.err) == (1, True)
    assert served_bundle() == default_bundle()
