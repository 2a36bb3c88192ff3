"""Evenings with all kinds of feed faults, read from the replay's JSON, end with the forecasts of a faultless evening.

`test_plain_days.py` has many more of them on plain data.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.support.builders.evenings import game
from tests.support.harness.bad_days import HALF, REGULATION, SIX_MINUTES, BadDay

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.poller.events import HorizonClosed
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_feed.pattern import slots
from dejavu_feed.replay.faults.kinds import FeedFaultKind
from dejavu_feed.replay.games import ReplayGame, extend_to_overtime

GAMES = (extend_to_overtime(game(lead=3, run=2)), game("MIA", "NYK", lead=-1))
OUTCOMES = {("BOS", HALFTIME): 5, ("BOS", FINAL): 4, ("MIA", HALFTIME): -1, ("MIA", FINAL): -1}

Patterns = dict[tuple[str, Horizon.ValueType], tuple[int, ...]]


def true_patterns(games: Sequence[ReplayGame], half: int = 23, final: int = 47) -> Patterns:
    """Returns the patterns of the last minutes from which halftime and final are forecast."""
    minutes = {HALFTIME: half, FINAL: final}
    return {
        (played.home, horizon): slots(played.scores, minute) for played in games for horizon, minute in minutes.items()
    }


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind is FeedFaultKind.CORRECTED else pytest.mark.nightly)
        for kind in FeedFaultKind
    ],
)
async def test_an_evening_with_one_kind_of_fault_ends_with_the_forecasts_of_one_without(kind: FeedFaultKind) -> None:
    day = BadDay(GAMES, [kind], seed=3, rate=1.0)
    poller = await day.run()

    assert day.patterns == true_patterns(GAMES)
    assert day.outcomes == day.record == OUTCOMES
    assert not [event for event in day.events if isinstance(event, HorizonClosed)]
    assert not day.told_too_late()
    assert [horizon.settled_games for horizon in poller.summary().horizons] == [2, 2]


async def test_an_evening_with_all_faults_ends_with_the_forecasts_of_one_without() -> None:
    day = BadDay(GAMES, list(FeedFaultKind), seed=3)
    await day.run()

    assert day.patterns == true_patterns(GAMES)
    assert not day.told_too_late()


@pytest.mark.parametrize(
    "until",
    [
        SIX_MINUTES + 120,
        *(pytest.param(until, marks=pytest.mark.nightly) for until in (HALF - 300, HALF + 60, REGULATION - 400)),
    ],
)
async def test_a_poller_restarted_in_the_middle_of_a_bad_day_does_no_harm(until: float) -> None:
    kinds = set(FeedFaultKind) - {
        FeedFaultKind.MIDNIGHT
    }  # a new poller cannot find a game that the scoreboard does not show
    day = BadDay(GAMES, sorted(kinds), seed=11)
    await day.run(restart=until)

    assert day.patterns == true_patterns(GAMES)
    assert not day.told_too_late()
