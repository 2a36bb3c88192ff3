"""The plain data of a replay with faults is what parsing its JSON gives, so that evenings on either are the same."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st
from tests.support.fakes.clock import SteppedClock
from tests.support.fakes.plain_feed import PlainFeed
from tests.support.harness.bad_days import DirectFeed

from dejavu_feed.errors import FeedError
from dejavu_feed.replay.faults.injector import FaultyReplay
from dejavu_feed.replay.faults.kinds import FeedFaultKind
from dejavu_feed.replay.games import extend_to_overtime, simulated_evening
from dejavu_feed.replay.replay import Replay

T = TypeVar("T")
FIRST, SECOND = simulated_evening(random.Random(5), 2)
GAMES = (extend_to_overtime(FIRST), SECOND)


@given(
    kinds=st.one_of(st.just(set(FeedFaultKind)), st.sets(st.sampled_from(FeedFaultKind))),
    seed=st.integers(0, 10**6),
    lives=st.lists(st.floats(-60.0, 10_000.0), min_size=1, max_size=6),
)
def test_plain_data_is_what_parsing_the_json_gives(kinds: set[FeedFaultKind], seed: int, lives: list[float]) -> None:
    clock = SteppedClock()
    replay = Replay(GAMES, stagger=300.0, now=clock)
    faulty = FaultyReplay(replay, kinds, seed=seed, rate=0.7)
    parsed, plain = DirectFeed(faulty.respond), PlainFeed(replay, faulty, clock)
    for life in lives:
        clock.now = replay.start + timedelta(seconds=life)
        shown, board = answer(parsed.scoreboard), answer(plain.scoreboard)
        if isinstance(shown, FeedError) or isinstance(board, FeedError):
            assert isinstance(shown, FeedError)
            assert isinstance(board, FeedError)
        else:
            assert (shown.date, shown.games, len(shown.faults)) == (board.date, board.games, len(board.faults))
        for game_id in replay.games:
            assert same(answer(partial(parsed.game, game_id)), answer(partial(plain.game, game_id)))
            assert same(answer(partial(parsed.plays, game_id)), answer(partial(plain.plays, game_id)))


def answer(read: Callable[[], T]) -> T | FeedError:
    try:
        return read()
    except FeedError as error:
        return error


def same(parsed: object, plain: object) -> bool:
    """Whether both reads failed, or both gave the same."""
    return isinstance(plain, FeedError) if isinstance(parsed, FeedError) else parsed == plain
