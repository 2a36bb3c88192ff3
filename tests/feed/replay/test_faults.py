"""Faults injected into a replay: the effect of each kind, reproducibility by seed, and limited duration."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.evenings import extend_to_overtime, game
from tests.support.builders.halftime import live_pattern
from tests.support.fakes.clock import SteppedClock
from tests.support.fakes.feed_faults import (
    EPISODE_SECONDS,
    FAULTY_SECONDS,
    QUIET_SECONDS,
    FaultyReplay,
    FeedFaultKind,
)

from dejavu_feed.files.checked_games import exclusion_reason
from dejavu_feed.nba.live_feed import LIVE_PATH
from dejavu_feed.nba.live_payloads import GameState, GameStatus, read_boxscore, read_plays, read_scoreboard
from dejavu_feed.nba.plays import Play
from dejavu_feed.pattern import slots
from dejavu_feed.replay.games import simulated_evening
from dejavu_feed.replay.http_server import Response
from dejavu_feed.replay.replay import File, Replay, file_at
from dejavu_feed.replay.timeline import PACE, Timeline, period_end

BOARD = LIVE_PATH + "scoreboard/todaysScoreboard_00.json"
SIX_MINUTES = (720 + 360) * PACE + 210
"""Real-time seconds from tip-off to 6:00 of the second quarter."""


class BadDay:
    """A replay of three games with some kinds of faults; by default every episode has a transient fault."""

    def __init__(self, *kinds: FeedFaultKind, seed: int = 1, rate: float = 1.0) -> None:
        self.clock = SteppedClock()
        self.replay = Replay([game(), game("MIA", "NYK"), game("UTA", "DEN")], stagger=600, now=self.clock)
        self.faulty = FaultyReplay(self.replay, kinds, seed=seed, rate=rate)
        self.first = next(iter(self.replay.games))

    def go_to(self, life: float) -> None:
        self.clock.now = self.replay.start + timedelta(seconds=life)

    def plays_path(self) -> str:
        return LIVE_PATH + f"playbyplay/playbyplay_{self.first}.json"

    def fault_of(self, path: str) -> FeedFaultKind | None:
        file = file_at(path)
        assert file is not None
        return self.faulty.fault(file, self.clock.now)

    def with_fault(self, path: str, *, after: float = 1200.0) -> Response:
        """Return the response at the first time with a fault."""
        self.go_to(after)
        while self.fault_of(path) is None:
            self.clock.step(5)
        return self.faulty.respond(path)

    def truth(self, path: str) -> Any:
        return json.loads(self.replay.respond(path).body)

    def plays(self) -> tuple[Play, ...]:
        return read_plays(json.loads(self.faulty.respond(self.plays_path()).body), self.first).plays

    def true_plays(self) -> tuple[Play, ...]:
        return read_plays(self.truth(self.plays_path()), self.first).plays

    def board(self) -> Any:
        return json.loads(self.faulty.respond(BOARD).body)

    def states(self) -> dict[str, GameState]:
        return {state.game_id: state for state in read_scoreboard(self.board()).games}


@pytest.mark.parametrize(
    ("kind", "fits"),
    [
        (FeedFaultKind.FORBIDDEN_PAGE, lambda answer: answer.status == 403 and b"Access Denied" in answer.body),
        (FeedFaultKind.FORBIDDEN_JSON, lambda answer: answer.status == 403 and json.loads(answer.body)),
        (FeedFaultKind.SERVER_ERROR, lambda answer: answer.status == 500),
        (FeedFaultKind.EMPTY, lambda answer: (answer.status, answer.body) == (200, b"")),
        (FeedFaultKind.HOLLOW, lambda answer: answer.body in (b"{}", b"[]")),
        (FeedFaultKind.TIMEOUT, lambda answer: answer.hold == 30),
        (FeedFaultKind.SILENCE, lambda answer: answer.hold == 30),
    ],
)
def test_an_answer_may_be_none(kind: FeedFaultKind, fits: Callable[[Response], bool]) -> None:
    day = BadDay(kind)

    for path in (BOARD, day.plays_path()):
        assert fits(day.with_fault(path))


def test_a_stale_file_is_that_of_some_minutes_ago() -> None:
    day = BadDay(FeedFaultKind.STALE)
    for path in (BOARD, day.plays_path()):
        stale, true = json.loads(day.with_fault(path).body), day.truth(path)
        old = [datetime.fromisoformat(payload["meta"]["time"]) for payload in (stale, true)]
        assert 60 <= (old[1] - old[0]).total_seconds() <= 240
        assert stale != true


def test_a_scoreboards_clock_may_run_ahead_of_the_plays() -> None:
    day = BadDay(FeedFaultKind.AHEAD)
    ahead = read_scoreboard(json.loads(day.with_fault(BOARD, after=1205).body)).games[0]
    true = read_scoreboard(day.truth(BOARD)).games[0]

    assert ahead.clock is not None
    assert true.clock is not None
    assert 5 / PACE - 0.1 <= true.clock - ahead.clock <= 40 / PACE + 0.1


@pytest.mark.parametrize("kind", [FeedFaultKind.DUPLICATED, FeedFaultKind.DISORDERED])
def test_plays_listed_twice_or_out_of_order_are_the_same_plays(kind: FeedFaultKind) -> None:
    day = BadDay(kind)
    payload = json.loads(day.with_fault(day.plays_path()).body)

    assert payload["game"]["actions"] != day.truth(day.plays_path())["game"]["actions"]
    assert read_plays(payload, day.first).plays == day.true_plays()


def test_shots_are_credited_wrongly_and_corrected_within_minutes() -> None:
    day = BadDay(FeedFaultKind.CORRECTED)
    wrong = 0
    for life in range(0, int(SIX_MINUTES) + 420, 15):
        day.go_to(life)
        plays, true = day.plays(), day.true_plays()
        assert [play.order for play in plays] == [play.order for play in true]
        wrong += live_pattern(plays, 18) not in (None, live_pattern(true, 18))
    assert wrong, "a forecast would have to be revised"
    day.go_to(SIX_MINUTES + 240)
    assert live_pattern(day.plays(), 18) == live_pattern(day.true_plays(), 18)
    corrected = [play for play in day.plays() if play.edited is not None and play.actual is not None]
    assert any(play.edited - play.actual > timedelta(seconds=20) for play in corrected if play.edited and play.actual)


def test_a_play_that_never_was_completes_the_pattern_too_early_and_is_withdrawn() -> None:
    taken_back = set()
    for seed in range(2):
        day = BadDay(FeedFaultKind.WITHDRAWN, seed=seed)
        course = []
        for life in range(int(SIX_MINUTES) - 200, int(SIX_MINUTES) + 240, 10):
            day.go_to(life)
            course.append((live_pattern(day.plays(), 18) is not None, live_pattern(day.true_plays(), 18) is not None))
        assert (True, False) in course, "complete, and truly not yet"
        taken_back.add((False, False) in course[course.index((True, False)) :])
        assert live_pattern(day.plays(), 18) == live_pattern(day.true_plays(), 18)
    assert taken_back == {True, False}, "before the next play, or after it"


def test_a_game_may_stand_at_one_all_before_its_tip_off() -> None:
    day = BadDay(FeedFaultKind.TECHNICAL)
    day.go_to(0)
    (start,) = day.plays()
    assert (start.clock, start.home, start.away) == (720, 1, 1)
    state = day.states()[day.first]
    assert (state.home_score, state.away_score, state.home_periods[0]) == (1, 1, 1)
    box = json.loads(day.faulty.respond(LIVE_PATH + f"boxscore/boxscore_{day.first}.json").body)
    assert read_boxscore(box, day.first) == state

    day.go_to(SIX_MINUTES + 100)
    assert live_pattern(day.plays(), 18) == live_pattern(day.true_plays(), 18)


def test_a_postponed_game_never_begins() -> None:
    day = BadDay(FeedFaultKind.POSTPONED)
    for life in (0, 5_000, 20_000):
        day.go_to(life)
        (postponed,) = (state for game_id, state in day.states().items() if game_id not in day.replay.games)
        assert (postponed.status, postponed.text) == (GameStatus.SCHEDULED, "PPD")
        assert day.faulty.respond(LIVE_PATH + f"playbyplay/playbyplay_{postponed.game_id}.json").status == 404


def test_at_midnight_games_vanish_from_the_scoreboard_while_they_go_on() -> None:
    day = BadDay(FeedFaultKind.MIDNIGHT)
    dates = []
    for life in range(0, 6_000, 60):
        day.go_to(life)
        dates.append(read_scoreboard(day.board()).date)
    day.go_to(6_000)

    assert sorted(set(dates)) == ["2026-01-14", "2026-01-15"] == list(dict.fromkeys(dates))
    assert not set(day.states()) & set(day.replay.games)
    assert {state.status for state in day.states().values()} == {GameStatus.SCHEDULED}
    assert day.faulty.respond(LIVE_PATH + f"boxscore/boxscore_{day.first}.json").status == 200


@pytest.mark.parametrize("seed", range(12))
def test_a_game_taken_into_overtime_is_the_same_until_its_last_quarter_and_has_a_winner(seed: int) -> None:
    (played,) = simulated_evening(random.Random(seed), 1)
    longer = extend_to_overtime(played)

    assert slots(longer.scores, 36) == slots(played.scores, 36)
    assert Timeline(longer).periods == max(5, Timeline(played).periods)
    assert exclusion_reason("BOS", longer.scores) == ""
    assert list(longer.scores) == sorted(longer.scores), "no score falls"
    won = [game.scores[-1].home > game.scores[-1].away for game in (played, longer)]
    assert won[0] == won[1]


@given(seed=st.integers(0, 10**6), life=st.floats(-3_000, 12_000))
def test_the_same_seed_makes_the_same_faults_in_every_run(seed: int, life: float) -> None:
    days = [BadDay(*FeedFaultKind, seed=seed, rate=0.5) for _ in range(2)]
    for day in days:
        day.go_to(life)
    one, other = days
    assert one.first != other.first, "ids are minted anew"
    for first, second in zip((BOARD, one.plays_path()), (BOARD, other.plays_path()), strict=True):
        assert one.fault_of(first) == other.fault_of(second)
        answers = one.faulty.respond(first), other.faulty.respond(second)
        bodies = [re.sub(rb"99[0-9]*", b"an id", answer.body) for answer in answers]
        assert bodies[0] == bodies[1]
        assert [(answer.status, answer.hold) for answer in answers] == [(answers[0].status, answers[0].hold)] * 2


@given(seed=st.integers(0, 10**6), episode=st.integers(0, 40), into=st.floats(FAULTY_SECONDS, EPISODE_SECONDS - 0.01))
def test_no_file_has_a_passing_fault_in_the_last_minutes_of_an_episode(seed: int, episode: int, into: float) -> None:
    day = BadDay(*FeedFaultKind, seed=seed)
    day.go_to(episode * EPISODE_SECONDS + into)
    for game_id in day.replay.games:
        for file in (File("scoreboard"), File("playbyplay", game_id), File("boxscore", game_id)):
            assert day.faulty.fault(file, day.clock.now) is None


@pytest.mark.parametrize("period", [2, 4])
@given(seed=st.integers(0, 10**6), game=st.integers(0, 2), before=st.floats(0, QUIET_SECONDS - 0.01))
def test_the_last_minute_of_a_half_and_of_regulation_has_no_passing_fault_in_what_tells_of_its_game(
    period: int, seed: int, game: int, before: float
) -> None:
    day = BadDay(*FeedFaultKind, seed=seed)
    day.go_to(600 * game + period_end(period) - before)
    game_id = list(day.replay.games)[game]
    for file in (File("scoreboard"), File("playbyplay", game_id), File("boxscore", game_id)):
        assert day.faulty.fault(file, day.clock.now) is None


@pytest.mark.parametrize("minutes", [23, 47])
@given(seed=st.integers(0, 10**6))
def test_the_last_pattern_of_a_half_and_of_regulation_is_put_right_while_it_can_be_forecast(
    minutes: int, seed: int
) -> None:
    day = BadDay(FeedFaultKind.CORRECTED, FeedFaultKind.WITHDRAWN, seed=seed)
    day.go_to(period_end(2 if minutes == 23 else 4) - 60)
    assert live_pattern(day.plays(), minutes) == live_pattern(day.true_plays(), minutes)
