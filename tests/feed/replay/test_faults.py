"""Faults injected into a replay: every kind is in some answer, the same by seed, and plays in any order are the same.

That they pass in time shows in tests/poller/test_bad_days.py, whose evenings end as those without faults.
"""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from tests.support.builders.evenings import game
from tests.support.fakes.clock import SteppedClock
from tests.support.fakes.feed_faults import FaultyReplay, FeedFaultKind

from dejavu_feed.nba.live_feed import LIVE_PATH
from dejavu_feed.nba.live_payloads import read_plays
from dejavu_feed.replay.replay import Replay

LAST_SECONDS = 4_900
SAME_PLAYS = {FeedFaultKind.DUPLICATED, FeedFaultKind.DISORDERED}


@pytest.mark.parametrize("kind", FeedFaultKind)
def test_each_kind_is_in_some_answer_and_the_same_by_seed(kind: FeedFaultKind) -> None:
    clock = SteppedClock()
    replay = Replay([game(), game("MIA", "NYK")], stagger=600, now=clock)
    first = next(iter(replay.games))
    faulty, again = (FaultyReplay(replay, [kind], seed=2, rate=1.0) for _ in range(2))
    changed = 0
    for elapsed in range(0, LAST_SECONDS, 70):
        clock.now = replay.start + timedelta(seconds=elapsed)
        for path in ("scoreboard/todaysScoreboard_00.json", f"playbyplay/playbyplay_{first}.json"):
            true, found = replay.respond(LIVE_PATH + path), faulty.respond(LIVE_PATH + path)
            assert found == again.respond(LIVE_PATH + path)
            changed += found != true
            if kind in SAME_PLAYS and "plays" in path:
                assert read_plays(json.loads(found.body), first) == read_plays(json.loads(true.body), first)
    assert changed
