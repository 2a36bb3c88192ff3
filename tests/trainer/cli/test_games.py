"""Commands that get games, end to end, with text, JSON and exit codes: fetch, import, and refresh off a service."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow.csv
import pytest
from tests.support.builders.plays_files import complete_hoopr, hoopr, nba_api, written
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
    assert season == {
        "season": "2024-25",
        "file": str(tmp_path / "plays_2025.parquet"),
        "rows": len(truth(GAMES[1:])),
        "games": 4,
        "left_out": 0,
        "regular_games": 2,
        "regular_games_expected": 1230,
        "not_over": 0,
        "missing": [
            {
                "game_id": game.game_id,
                "date": game.day.isoformat(),
                "teams": f"{game.away} @ {game.home}",
                "reason": "status 500, after 3 attempts",
            }
        ],
    }
    explained = (ROOT / "docs" / "training.md").read_text()
    assert not [key for key in [*document, *season] if f"`{key}`" not in explained]
    said = ["2024-25: 0 of 5", *["status 500; retrying in 0 s"] * (ATTEMPTS - 1), f"{game.game_id} "]
    *lines, last = done.err.splitlines()
    assert all(line.startswith(start) for line, start in zip(lines, said, strict=True))
    assert last == "dejavu-trainer: 1 games of 2024-25 could not be fetched; run the same command again to retry"
    rows = f"{len(truth(GAMES)):,} rows, 5 games; 3 of about 1,230 games of the regular season"
    assert told(*arguments).out == f"{tmp_path / 'plays_2025.parquet'}: {rows}\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--seasons", "1995-96"), "the NBA has plays from 1996-97 on, not of 1995-96"),
        (("--seasons", "2024-25", "--url", "nba"), "'nba' is not the address of a service"),
        ((), "--seasons"),
    ],
)
def test_wrong_usage_is_told(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    refused = told("fetch", *arguments, "--out", tmp_path / "data")
    assert refused.code == 2
    assert complaint in " ".join(refused.err.replace("│", " ").split())
    assert not (tmp_path / "data").exists()


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
    assert len(document.pop("not_imported")) == 1
    assert document == {
        "file": str(tmp_path / "data" / "plays_2024.parquet"),
        "rows": document["rows"],
        "games": 8,
        "left_out": 0,
        "regular_games": 8,
        "regular_games_expected": 1_230,
        "events": 8,
        "players": 0,
        **{key: [] for key in ("not_in_list", "without_events", "without_players")},
    }
    assert done.err == "left out 1 game (99): of no part of the season that counts (preseason, All-Star)\n"
    games = load_games(tmp_path / "data", [2024])
    assert games.game_id.tolist() == [f"2024010{day}0DEN" for day in range(1, 9)]


def test_wrong_rows_are_told_together_and_nothing_is_written(tmp_path: Path) -> None:
    bad = "202301010BOS,RS,BOS,BRK,30,2,0\n"
    (tmp_path / "mine.csv").write_text(GOOD + bad * 30)
    arguments = ("import", tmp_path / "mine.csv", "--season", 2023, "--out", tmp_path / "data")
    lines = told(*arguments).err.splitlines()
    assert lines[0].endswith("row 2 (line 3), elapsed_s: 30 after 60 in the same game: time runs back")
    assert lines[-1].endswith("30 problems; nothing was written")
    refused = told(*arguments, "--json")
    problems = refused.document["problems"]
    assert (refused.code, len(problems)) == (1, 30)
    assert problems[0].keys() == {"row", "line", "column", "message", "file"}
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("file", "options", "complaint"),
    [
        ("none.csv", [], "/none.csv: there is no such file"),
        ("plays.csv", ["--events", "none.csv"], "none.csv: there is no such file"),
        ("plays.csv", [], "holds no complete game"),  # one row: three quarters have none
        ("nba.csv", ["--from", "nba_api"], "--from nba_api needs a list of games"),
    ],
)
def test_files_that_are_not_there_or_not_enough_are_told_and_nothing_is_written(
    file: str, options: list[str], complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "plays.csv").write_text(GOOD)
    written(tmp_path / "nba.csv", nba_api())
    refused = told("import", tmp_path / file, "--season", 2023, "--out", tmp_path / "data", *options)
    (line,) = refused.err.splitlines()
    assert (refused.code, complaint in line) == (1, True)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("options", [["--games", "games.csv"], ["--from", "hoopr", "--events", "events.csv"]])
def test_options_that_do_not_go_together_are_refused(options: list[str], tmp_path: Path) -> None:
    assert run("import", tmp_path / "plays.csv", "--season", 2023, "--out", tmp_path, *options) == 2


SHIPPED = read_manifest(default_bundle())
REFRESHED = season_of_games(season=SHIPPED.ratings.season)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_the_shipped_bundle_with_the_finals_since_is_left_where_servers_find_it_and_its_document_is_explained() -> None:
    """It asks as often as its help says."""
    with StatsStandIn(list(REFRESHED)) as service:
        done = told("refresh", "--url", service.url, "--json")
    document = done.document
    assert f"{SHIPPED.ratings.season - 1}-{SHIPPED.ratings.season % 100:02d}: {len(REFRESHED)} finals\n" in done.err
    assert served_bundle() == refreshed_bundle()
    assert (document["bundle"], document["games"]) == (str(refreshed_bundle()), len(REFRESHED))
    assert load_bundle(served_bundle()).manifest.ratings.date == max(game.day for game in REFRESHED)
    explained = (ROOT / "docs" / "training.md").read_text()
    assert not [key for key in document if f"`{key}`" not in explained]
    lists = [each.what for each in service.asked if not each.what.isdigit()]
    assert lists == ["Regular Season", "IST", "PlayIn", "Playoffs"] * (len(lists) // 4)
    assert [each.what for each in service.asked if each.what.isdigit()] == [REFRESHED[1].game_id]  # on neutral ground
    help_text = " ".join(told("refresh", "--help").out.split())
    assert "four for each season since the ratings end, and one for each game on neutral ground" in help_text


def test_off_line_it_says_so_and_nothing_is_changed() -> None:
    done = told("refresh", "--url", "http://127.0.0.1:9")
    *retries, error = done.err.splitlines()
    assert (done.code, len(retries)) == (1, 2)
    assert "Regular Season, could not be fetched: no connection to 127.0.0.1:9, after 3 attempts; " in error
    assert error.endswith("the bundle is as it was; run the same command again, or give games with --from")
    assert served_bundle() == default_bundle()
