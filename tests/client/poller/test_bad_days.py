"""Evenings with feed faults, read from the replay's JSON by the poller, end with the forecasts of a faultless evening.

`test_plain_days.py` has many more of them on plain data.
"""

from __future__ import annotations

import pytest
from tests.client.poller.test_plain_days import GAMES, OUTCOMES, true_patterns
from tests.support.harness.bad_days import SIX_MINUTES, BadDay

from dejavu_client.poller.events import HorizonClosed
from dejavu_feed.replay.faults.kinds import FeedFaultKind


@pytest.mark.nightly
@pytest.mark.parametrize("kind", FeedFaultKind)
async def test_an_evening_with_one_kind_of_fault_ends_with_the_forecasts_of_one_without(kind: FeedFaultKind) -> None:
    day = BadDay(GAMES, [kind], seed=3, rate=1.0)
    poller = await day.run()

    assert day.patterns == true_patterns(GAMES)
    assert day.outcomes == day.record == OUTCOMES
    assert not [event for event in day.events if isinstance(event, HorizonClosed)]
    assert not day.told_too_late()
    assert [horizon.settled_games for horizon in poller.summary().horizons] == [2, 2]


async def test_an_evening_with_all_faults_and_a_restart_ends_with_the_forecasts_of_one_without() -> None:
    # A new poller cannot find a game that the scoreboard does not show.
    day = BadDay(GAMES, sorted(set(FeedFaultKind) - {FeedFaultKind.MIDNIGHT}), seed=11)
    await day.run(restart=SIX_MINUTES + 120)

    assert day.patterns == true_patterns(GAMES)
    assert not day.told_too_late()
