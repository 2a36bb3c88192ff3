"""The program `dejavu replay`."""

from __future__ import annotations

import json
import signal
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.support.builders.plays_files import nba_api, written
from tests.support.programs.commands import Program, dejavu
from typer.testing import CliRunner

from dejavu_cli.main import app
from dejavu_feed.lines import Line, SidedLine
from dejavu_feed.nba import NbaFeed
from dejavu_feed.nba.live_payloads import GameStatus


def serving(*options: str) -> AbstractContextManager[Program]:
    return dejavu("replay", "--listen", "127.0.0.1:0", *options)


AT_ONCE = ("--json", "--delay", "0")


def fails_with(code: int, *options: str) -> str:
    result = CliRunner().invoke(app, ["replay", *options])
    assert result.exit_code == code, result.stderr
    return " ".join(result.stderr.split())


def test_it_serves_the_games_of_a_day_and_names_those_left_out(tmp_path: Path) -> None:
    def rows(game_id: str, away: str | None) -> list[dict[str, object]]:
        columns = {"game_id": game_id, "type": "RS", "home": game_id[-3:], "away": away}
        course = [(0.0, 0, 0), (100.0, 2, 0), (800.0, 4, 0), (1500.0, 4, 3), (2200.0, 6, 3), (2800.0, 6, 5)]
        return [columns | {"elapsed_s": t, "home_score": h, "away_score": a} for t, h, a in course]

    path = tmp_path / "plays.parquet"
    parquet.write_table(pa.Table.from_pylist(rows("202303060LAL", "PHO") + rows("202303060DEN", None)), path)
    options = ("--games", str(path), "--date", "2023-03-06")
    with serving(*options) as program:
        lines = [program.out.readline().strip() for _ in range(5)]
        assert program.ended(signal.SIGTERM) == 0

    assert lines[0].startswith("Serving 1 game at http://127.0.0.1:")
    assert lines[1].endswith("PHX @ LAL  202303060LAL")
    assert lines[2] == "excluded: 202303060DEN: away is missing"
    assert lines[4].startswith("dejavu poll --feed-url http://127.0.0.1:")


def test_it_serves_games_of_another_project_with_the_ids_and_dates_of_a_list(tmp_path: Path) -> None:
    path = written(tmp_path / "pbp.csv", [*nba_api(), *nba_api(gameId="0022300062")])
    (tmp_path / "list.csv").write_text(
        "GAME_ID,GAME_DATE,MATCHUP\n0022300061,2023-10-24,LAL @ DEN\n0022300062,2023-10-25,LAL @ DEN\n"
    )
    options = ("--games", str(path), "--from", "nba_api", "--game-list", str(tmp_path / "list.csv"))
    (tmp_path / "lines.csv").write_text("date,home,away,spread\n2023-10-24,DEN,LAL,-4½\n")
    lines = ("--lines", str(tmp_path / "lines.csv"))
    with serving(*AT_ONCE, *options, *lines, "--date", "2023-10-24") as program:
        told = announced(program)
        with closing(NbaFeed(told["url"])) as feed:
            assert feed.odds() == {told["games"][0]["gameId"]: SidedLine(Line(4.5), "DEN", "LAL")}
    [game] = told["games"]
    assert (game["homeTeam"], game["awayTeam"], game["source"]) == ("DEN", "LAL", "0022300061")
    assert told["leftOut"] == []


def announced(program: Program) -> dict[str, Any]:
    """Return the JSON object that a replay prints at its start."""
    told: dict[str, Any] = json.loads(program.out.readline())
    return told


def test_it_serves_the_same_games_for_its_seed_until_it_is_stopped() -> None:
    teams = []
    for _ in range(2):
        with serving(*AT_ONCE, "--count", "3", "--seed", "7", "--stagger", "60") as program:
            told = announced(program)
            with closing(NbaFeed(told["url"])) as feed:
                shown = feed.scoreboard().games
            assert program.ended(signal.SIGINT) == 0
            assert program.err.read() == ""
        assert [game.game_id for game in shown] == [game["gameId"] for game in told["games"]]
        assert [game.status for game in shown] == [GameStatus.LIVE, GameStatus.SCHEDULED, GameStatus.SCHEDULED]
        teams.append([game["homeTeam"] for game in told["games"]])
    assert teams[0] == teams[1]


@pytest.mark.parametrize(
    ("code", "options", "said"),
    [
        (2, ("--games", "plays.parquet"), "needs --date"),
        (2, ("--listen", "::1:8008"), "not HOST:PORT"),
        (1, ("--games", "missing.parquet", "--date", "2023-03-06"), "missing.parquet: there is no such file"),
        (1, ("--games", "pbp.csv", "--date", "2023-03-06", "--from", "nba_api"), "replay: --game-list FILE"),
    ],
)
def test_what_cannot_be_replayed_is_refused_by_name(code: int, options: tuple[str, ...], said: str) -> None:
    assert said in fails_with(code, *options)
