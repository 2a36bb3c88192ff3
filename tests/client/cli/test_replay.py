"""The program `dejavu replay`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from dejavu_client.cli.main import app
from dejavu_client.cli.options import address
from dejavu_feed.errors import FeedUnavailable
from dejavu_feed.nba import NbaFeed
from dejavu_feed.nba.live_payloads import GameStatus
from dejavu_feed.replay.http_server import LocalServer, Response

COMMAND = [sys.executable, "-m", "dejavu_client.cli", "replay"]


def fails_with(code: int, *options: str) -> str:
    result = CliRunner().invoke(app, ["replay", *options])
    assert result.exit_code == code, result.stderr
    return " ".join(result.stderr.split())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_simulated_games_until_it_is_told_to_end(number: signal.Signals) -> None:
    options = ["--listen", "127.0.0.1:0", "--count", "3", "--seed", "7", "--delay", "0", "--stagger", "60", "--json"]
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        told = json.loads(program.stdout.readline())
        with closing(NbaFeed(told["url"])) as feed:
            games = feed.scoreboard().games
        program.send_signal(number)
        assert program.wait(20) == 0
        assert program.stderr.read() == ""

    assert [game.game_id for game in games] == [game["gameId"] for game in told["games"]]
    assert [game.status for game in games] == [GameStatus.LIVE, GameStatus.SCHEDULED, GameStatus.SCHEDULED]


def test_it_serves_the_games_of_a_day_and_names_those_left_out(tmp_path: Path) -> None:
    def rows(game_id: str, away: str | None) -> list[dict[str, object]]:
        columns = {"game_id": game_id, "type": "RS", "home": "LAL", "away": away}
        course = [(0.0, 0, 0), (100.0, 2, 0), (800.0, 4, 0), (1500.0, 4, 3), (2200.0, 6, 3)]
        return [columns | {"elapsed_s": t, "home_score": h, "away_score": a} for t, h, a in course]

    path = tmp_path / "plays.parquet"
    parquet.write_table(pa.Table.from_pylist(rows("202303060LAL", "PHO") + rows("202303060DEN", None)), path)
    options = ["--listen", "127.0.0.1:0", "--games", str(path), "--date", "2023-03-06"]
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        lines = [program.stdout.readline().strip() for _ in range(5)]
        program.terminate()
        assert program.wait(20) == 0

    assert lines[0].startswith("Serving 1 game at http://127.0.0.1:")
    assert lines[1].endswith("PHX @ LAL  202303060LAL")
    assert lines[2] == "excluded: 202303060DEN: away is missing"
    assert lines[4].startswith("dejavu poll --feed-url http://127.0.0.1:")


def test_what_cannot_be_replayed_is_refused_by_name(tmp_path: Path) -> None:
    assert "needs --date" in fails_with(2, "--games", "plays.parquet")
    assert "not HOST:PORT" in fails_with(2, "--listen", "8008")
    assert "missing.parquet" in fails_with(1, "--games", str(tmp_path / "missing.parquet"), "--date", "2023-03-06")


def test_an_address_that_is_taken_is_told() -> None:
    with LocalServer(lambda _: Response(200, b"")) as server:
        address = server.url.removeprefix("http://")
        assert f"cannot listen at {address}" in fails_with(1, "--listen", address)


def read_until_it_fails(feed: NbaFeed) -> None:
    while True:
        feed.scoreboard()


def announced(*options: str) -> dict[str, Any]:
    """Returns the JSON object that a replay prints at its start."""
    with subprocess.Popen([*COMMAND, "--listen", "127.0.0.1:0", "--json", *options], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        told: dict[str, Any] = json.loads(program.stdout.readline())
        program.terminate()
    return told


def teams(told: dict[str, Any]) -> list[tuple[str, str]]:
    return [(game["homeTeam"], game["awayTeam"]) for game in told["games"]]


def test_it_serves_a_bad_day_and_says_which_faults_there_are() -> None:
    options = ["--listen", "127.0.0.1:0", "--count", "2", "--delay", "0", "--faults", "403-json,overtime", "--json"]
    options += ["--fault-rate", "1", "--speed", "60"]
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        told = json.loads(program.stdout.readline())
        with closing(NbaFeed(told["url"])) as feed, pytest.raises(FeedUnavailable, match="status 403"):
            read_until_it_fails(feed)  # at this speed each file has its fault within five seconds
        program.terminate()
        assert program.wait(20) == 0

    assert told["faults"]["kinds"] == ["403-json", "overtime"]
    assert told["faults"]["rate"] == 1.0
    assert teams(told) == teams(announced("--count", "2", "--seed", str(told["faults"]["seed"])))


def test_an_unknown_fault_is_a_usage_error_that_names_those_there_are() -> None:
    message = fails_with(2, "--faults", "gremlins")
    assert "gremlins is not a kind of fault" in message
    assert "withdrawn" in message


def test_an_address_to_listen_at_may_be_one_of_ipv6_in_brackets() -> None:
    assert address("[::1]:9109", "--listen") == ("::1", 9109)
    assert "not HOST:PORT" in fails_with(2, "--listen", "::1:8008")
