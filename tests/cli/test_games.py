"""The list of games: score and clock of each, or tip-off and line."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from tests.support.fakes.service import FakeServer
from tests.support.harness.clients import Run

from dejavu.v1.game_service_pb2 import Game, GameStatus, ListGamesResponse
from dejavu_common.clock import utc_now


def game(status: str, game_id: str = "0022600001", **fields: Any) -> Game:
    values: dict[str, Any] = {"home_team": "BOS", "away_team": "LAL", "observed_time": utc_now()}
    return Game(game_id=game_id, status=GameStatus.Value(f"GAME_STATUS_{status}"), **values | fields)


def shown(server: FakeServer, run: Run, *games: Game, width: int = 120, options: tuple[str, ...] = ()) -> str:
    server.answers("ListGames", ListGamesResponse(games=games))
    return run("games", *options, width=width).stdout


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (game("LIVE", home_score=41, away_score=38, period=2, seconds_left=360), "LAL @ BOS 38–41 Q2 6:00"),
        (game("FINAL", home_score=110, away_score=99, period=4), "99–110 final"),
        (game("FINAL", home_score=110, away_score=108, period=6), "108–110 final, OT2"),
        (game("POSTPONED", home_score=3), "LAL @ BOS postponed"),
        (game("SCHEDULED", pregame_margin=-3.5, pregame_total=221.5), "scheduled LAL by 3.5 · 221.5 points"),
    ],
)
def test_a_game_is_a_line(server: FakeServer, run: Run, state: Game, words: str) -> None:
    assert words in " ".join(shown(server, run, state).split())


def test_the_age_of_a_live_game_is_shown_and_a_narrow_terminal_keeps_score_and_clock(
    server: FakeServer, run: Run
) -> None:
    old = game("LIVE", period=1, seconds_left=30, published_by="token:poller")
    old.observed_time.FromDatetime(utc_now() - timedelta(seconds=200))
    wide = shown(server, run, old)
    assert "3 min" in wide
    assert "token:poller" in wide
    narrow = shown(server, run, old, width=40)
    assert "Q1 0:30" in narrow
    assert max(map(len, narrow.splitlines())) <= 40


def test_games_of_replays_are_left_out_unless_asked_for(server: FakeServer, run: Run) -> None:
    assert shown(server, run) == "No games: none was published in the last 24 hours (a poller does it).\n"
    replayed, real = game("FINAL", "9900000001"), game("FINAL")
    assert "Replays are left out: --replays includes them." in " ".join(shown(server, run, replayed).split())
    listed = shown(server, run, replayed, real, options=("--replays", "--json")).splitlines()
    assert [json.loads(line)["gameId"] for line in listed] == ["9900000001", "0022600001"]
    assert "9900000001" not in shown(server, run, replayed, real)
