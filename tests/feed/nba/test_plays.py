"""A game's progress according to its plays: complete minutes, periods that are over, and the times of their ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dejavu_feed.nba.plays import (
    Play,
    completed_at,
    completed_minutes,
    earliest_end,
    ended_at,
    final_score,
    halftime_score,
    periods_over,
    plausible_plays,
)
from dejavu_feed.pattern import period_of

TIP_OFF = datetime(2026, 1, 15, 1, 0, tzinfo=UTC)


def play(elapsed: float, home: int = 0, away: int = 0, *, ends: bool = False, period: int = 0) -> Play:
    """Return a play, twice as late by the wall clock as by the game's; `ends`: the end of its period."""
    action, detail = ("period", "end") if ends else ("2pt", "Jump Shot")
    at = TIP_OFF + timedelta(seconds=2 * elapsed)
    return Play(0, period or period_of(elapsed), 0.0, elapsed, home, away, action, detail, False, at, at)


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ((20, 26), [0, 1]),  # two shots at most
        ((20, 27), [0]),
        ((20, 50, 26), [0, 2]),  # the scores around a play agree, and do not explain it
        ((20, 50, 27, 27), [0, 1, 2, 3]),  # they do not agree: a gap
    ],
)
def test_a_play_is_left_out_if_the_scores_around_it_contradict_its_own(
    scores: tuple[int, ...], kept: list[int]
) -> None:
    plays = {place: play(10.0 * place, home) for place, home in enumerate((18, *scores))}
    assert list(plausible_plays(plays)) == [0, *(place + 1 for place in kept)]


@pytest.mark.parametrize(
    ("plays", "minutes"),
    [
        ([], 0),
        ([play(1080)], 17),  # another free throw may follow at the same second
        ([play(1081)], 18),
        ([play(1300), play(601)], 10),  # a slip in a clock, which another play follows
        ([play(720)], 11),
        ([play(720, ends=True)], 12),  # complete at once, not after the break
        ([play(2880)], 47),
        ([play(2880, ends=True)], 48),
        ([play(3000)], 48),
    ],
)
def test_a_minute_is_complete_with_a_play_past_its_end_or_the_end_of_its_quarter(
    plays: list[Play], minutes: int
) -> None:
    assert completed_minutes(plays) == minutes
    completing = completed_at(plays, minutes) if minutes else None
    assert completing == (plays[0].actual if minutes else None)


def test_the_half_is_over_with_the_end_of_its_quarter_and_without_what_follows_in_the_break() -> None:
    buzzer, end, technical = play(1440, 50, 48), play(1440, 50, 48, ends=True), play(1440, 51, 48, period=3)
    assert (periods_over([buzzer]), halftime_score([buzzer])) == (1, None)
    for plays in ([buzzer, end], [buzzer, technical], [buzzer, end, technical]):
        assert periods_over(plays) == 2
        score = halftime_score(plays)
        assert score is not None
        assert score[1:] == (50, 48)


def test_a_game_is_over_with_the_end_of_a_period_from_the_fourth_on_that_is_not_tied() -> None:
    tied, won = play(2880, 99, 99, ends=True), play(3180, 104, 101)
    assert [final_score(plays) for plays in ([], [tied], [tied, won])] == [None] * 3
    score = final_score([tied, play(3180, 104, 101, ends=True)])
    assert score is not None
    assert score[1:] == (104, 101)


def test_a_period_ends_when_the_feed_says_so_or_with_the_next_play_and_never_before_its_clock_can_run_out() -> None:
    last, end, after = play(1350), play(1440, ends=True), play(1500)
    assert ended_at([last, end, after], 2) == end.actual
    assert ended_at([last, after], 2) == after.actual
    assert ended_at([last], 2) is None
    now = TIP_OFF + timedelta(hours=1)
    assert last.actual is not None
    assert earliest_end([last, play(2400)], now, 24) == last.actual + timedelta(seconds=90), "a play after now is none"
    assert earliest_end([], now, 24) is None
