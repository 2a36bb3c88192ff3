"""A real evening through the replay: patterns built live equal those of the file."""

from __future__ import annotations

from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from tests.support.builders.halftime import halftime_differential, live_pattern
from tests.support.fakes.clock import SteppedClock

from dejavu_feed.nba import NbaFeed
from dejavu_feed.pattern import slots
from dejavu_feed.replay.games import recorded_evening
from dejavu_feed.replay.http_server import LocalServer
from dejavu_feed.replay.replay import Replay

pytestmark = pytest.mark.real_data


def test_an_evening_read_through_nba_api_gives_the_patterns_of_the_file(data_dir: Path) -> None:
    games, left_out = recorded_evening(data_dir / "seasons" / "plays_2023.parquet", date(2022, 11, 7))
    assert len(games) == 15
    assert left_out == ()
    clock = SteppedClock()
    replay = Replay(games, speed=100, stagger=300, now=clock)
    clock.now = replay.end

    with LocalServer(replay.respond) as server, closing(NbaFeed(server.url)) as feed:
        board = feed.scoreboard()
        assert len(board.games) == 15
        for state in board.games:
            game = replay.games[state.game_id]
            plays = feed.plays(state.game_id).plays
            assert (state.home, state.away) == (game.home, game.away)
            assert (state.home_score, state.away_score) == game.scores[-1][1:]
            assert live_pattern(plays, 18) == slots(game.scores, 18)
            assert halftime_differential(plays) == slots(game.scores, 24)[-1]
