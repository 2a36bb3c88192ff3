"""The list of games: score and clock of each, or tip-off and line, at any width, and what is old."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_cli.commands.games import print_games
from dejavu_common.clock import utc_now


def game(number: int, status: str, **fields: Any) -> Game:
    values: dict[str, Any] = {"home_team": "BOS", "away_team": "LAL", "observed_time": utc_now()}
    return Game(game_id=f"{22600000 + number:010}", status=GameStatus.Value(f"GAME_STATUS_{status}"), **values | fields)


def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, *games: Game) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    print_games(games)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (game(1, "LIVE", home_score=41, away_score=38, period=2, seconds_left=360), "LAL @ BOS 38–41 Q2 6:00"),
        (game(1, "LIVE", home_score=99, away_score=99, period=5, seconds_left=61.5), "99–99 OT 1:01.5"),
        (game(1, "LIVE", status_text="End\x1b[2J"), "0–0 End\\u001b[2J"),
        (game(1, "FINAL", home_score=110, away_score=99, period=4), "99–110 final"),
        (game(1, "FINAL", home_score=110, away_score=108, period=6), "108–110 final, OT2"),
        (game(1, "POSTPONED", home_score=3), "LAL @ BOS postponed"),
        (game(1, "SCHEDULED", pregame_margin=-3.5, pregame_total=221.5), "scheduled LAL by 3.5 · 221.5 points"),
    ],
)
def test_a_game_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], state: Game, words: str
) -> None:
    assert words in " ".join(shown(monkeypatch, capsys, 120, state).split())


def test_the_age_of_a_live_game_is_shown_and_a_narrow_terminal_keeps_score_and_clock(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = game(1, "LIVE", period=1, seconds_left=30, published_by="token:poller")
    old.observed_time.FromDatetime(utc_now() - timedelta(seconds=200))
    wide = shown(monkeypatch, capsys, 120, old)
    assert "3 min" in wide
    assert "token:poller" in wide
    narrow = shown(monkeypatch, capsys, 40, old)
    assert "Q1 0:30" in narrow
    assert max(map(len, narrow.splitlines())) <= 40


def test_without_games_it_says_who_publishes_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "a poller does it" in shown(monkeypatch, capsys, 80)
