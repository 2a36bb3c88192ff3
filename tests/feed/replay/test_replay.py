"""The replay: the feed's JSON at any time of a stepped clock."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.plays_files import halftime_differential, live_pattern
from tests.support.fakes.clock import SteppedClock

from dejavu_feed.game_ids import is_game_id, is_replay
from dejavu_feed.nba.live_payloads import GameStatus, Scoreboard, read_game_state, read_plays, read_scoreboard
from dejavu_feed.nba.plays import Play
from dejavu_feed.pattern import Score, slots
from dejavu_feed.replay.games import ReplayGame, simulated_evening
from dejavu_feed.replay.payloads import clock_text
from dejavu_feed.replay.replay import Replay
from dejavu_feed.replay.simulate import simulate_game

LIVE = "/static/json/liveData/"


def get(replay: Replay, path: str) -> Any:
    response = replay.respond(LIVE + path)
    assert response.status == 200, response.body
    return json.loads(response.body)


def board(replay: Replay) -> Scoreboard:
    return read_scoreboard(get(replay, "scoreboard/todaysScoreboard_00.json"))


@pytest.mark.parametrize("hour", [23, 5, 10])
def test_games_of_one_evening_have_its_date_also_after_midnight(hour: int) -> None:
    """Otherwise the page, whose evenings last until the morning, would not show games that are replayed at night."""
    clock = SteppedClock(datetime(2026, 1, 15 + (hour < 12), hour, 30, tzinfo=UTC))
    found = board(Replay(simulated_evening(random.Random(1), 2), speed=60, now=clock))
    assert {str(game.date) for game in found.games} == {found.date} == {"2026-01-15"}


def plays(replay: Replay, game_id: str) -> tuple[Play, ...]:
    return read_plays(get(replay, f"playbyplay/playbyplay_{game_id}.json"), game_id).plays


def one_game(*scores: Score) -> ReplayGame:
    return ReplayGame("test", "BOS", "LAL", (Score(0.0, 0, 0), *scores))


def test_a_game_goes_from_scheduled_over_live_to_final() -> None:
    clock = SteppedClock()
    replay = Replay(simulated_evening(random.Random(1), 1), speed=60, delay=10, now=clock)
    (game_id,) = replay.games
    played = replay.games[game_id]

    (before,) = board(replay).games
    assert (before.status, before.period, before.clock) == (GameStatus.SCHEDULED, 0, None)
    assert replay.respond(f"{LIVE}playbyplay/playbyplay_{game_id}.json").status == 404

    clock.step(10)
    (tipped_off,) = board(replay).games
    assert (tipped_off.status, tipped_off.period, tipped_off.clock) == (GameStatus.LIVE, 1, 720.0)
    assert tipped_off.tip_off == clock.now
    assert [play.detail for play in plays(replay, game_id)] == ["start"]

    clock.now = replay.end
    (final,) = board(replay).games
    assert (final.status, final.clock) == (GameStatus.FINAL, None)
    assert (final.home_score, final.away_score) == played.scores[-1][1:]
    assert sum(final.home_periods) == final.home_score

    clock.step(86400)
    assert board(replay).games == (final,), "finals are served on and on"


def test_each_run_mints_ids_of_its_own() -> None:
    games = simulated_evening(random.Random(1), 8)
    one, another = Replay(games), Replay(games)

    assert all(is_game_id(game_id) and is_replay(game_id) for game_id in one.games)
    assert len(one.games) == 8
    assert not one.games.keys() & another.games.keys()


def test_a_play_is_published_at_the_moment_that_it_names() -> None:
    clock = SteppedClock()
    replay = Replay([one_game(*full_game(1081.0))], speed=30, now=clock)
    (game_id,) = replay.games
    clock.now = replay.end
    scored = next(play for play in plays(replay, game_id) if play.elapsed == 1081.0)
    assert scored.actual is not None

    clock.now = scored.actual
    clock.step(-0.01)
    assert all(play.elapsed <= 1080 for play in plays(replay, game_id))
    clock.step(0.02)
    assert plays(replay, game_id)[-1].elapsed == 1081.0


def full_game(*moments: float) -> list[Score]:
    """Return a home three in every quarter, and at the given times."""
    rows = sorted([*moments, 100.0, 800.0, 1500.0, 2200.0])
    return [Score(moment, 3 * number, 0) for number, moment in enumerate(rows, 1)]


@given(seed=st.integers(0, 2**32))
def test_a_pattern_built_live_is_the_one_built_in_training(seed: int) -> None:
    """Score → JSON → parser → slots loses nothing, at the end of the game and at the time of completion."""
    rng = random.Random(seed)
    game = ReplayGame("test", "BOS", "LAL", tuple(simulate_game(rng)))
    clock = SteppedClock()
    replay = Replay([game], speed=rng.uniform(1, 300), now=clock)
    (game_id,) = replay.games
    clock.now = replay.end

    everything = plays(replay, game_id)
    for minutes in (1, 12, 18, 24, 47):
        assert live_pattern(everything, minutes) == slots(game.scores, minutes)
    assert halftime_differential(everything) == slots(game.scores, 24)[-1]
    assert (everything[-1].home, everything[-1].away) == game.scores[-1][1:]

    complete = next(play for play in everything if play.elapsed > 1080)
    assert complete.actual is not None
    clock.now = complete.actual
    clock.step(0.001)
    assert live_pattern(plays(replay, game_id), 18) == slots(game.scores, 18)


def test_the_scoreboard_and_the_box_score_agree_at_any_moment() -> None:
    clock = SteppedClock()
    replay = Replay(simulated_evening(random.Random(5), 2), speed=60, delay=5, stagger=900, now=clock)
    texts = set[str]()
    while clock.now <= replay.end:
        for state in board(replay).games:
            texts.add(state.text[:3])
            game_id = state.game_id
            assert read_game_state(get(replay, f"boxscore/boxscore_{game_id}.json"), game_id) == state
            if state.status is not GameStatus.SCHEDULED:
                newest = plays(replay, game_id)[-1]
                assert (newest.home, newest.away) == (state.home_score, state.away_score)
        clock.step(7.9)
    assert {"Q1 ", "End", "Q2 ", "Hal", "Q3 ", "Q4 "} <= texts


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(720, "PT12M00.00S"), (365, "PT06M05.00S"), (0.6, "PT00M00.60S"), (59.999, "PT00M59.99S"), (0, "PT00M00.00S")],
)
def test_a_clock_is_written_to_the_hundredth(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text
