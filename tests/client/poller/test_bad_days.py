"""Evenings with all kinds of feed faults, read from the replay's JSON, end with the forecasts of a faultless evening.

`test_plain_days.py` has many more of them on plain data.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.support.builders.evenings import game
from tests.support.harness.bad_days import HALF, REGULATION, SIX_MINUTES, BadDay

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.poller.events import ForecastMissed, HorizonClosed, OutcomeReported
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_feed.pattern import slots
from dejavu_feed.replay.faults.kinds import FeedFaultKind
from dejavu_feed.replay.faults.overtime import extend_to_overtime
from dejavu_feed.replay.games import ReplayGame

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


async def test_a_restart_on_a_good_day_leaves_the_very_same_entries() -> None:
    alone, restarted = BadDay(GAMES), BadDay(GAMES)
    await alone.run()
    for until in (SIX_MINUTES - 60, SIX_MINUTES + 60, HALF + 30, REGULATION - 100):
        await restarted.run_until(until)
    await restarted.run()

    assert restarted.patterns == alone.patterns == true_patterns(GAMES)
    assert restarted.predictor.sequence == alone.predictor.sequence == len(GAMES) * (18 + 42 + 2)
    assert not [event for event in restarted.events if isinstance(event, ForecastMissed | HorizonClosed)]
    reported = [event for event in alone.events if isinstance(event, OutcomeReported)]
    assert len(reported) == len(OUTCOMES), "each once"


async def test_what_a_feed_hides_until_the_half_is_missed_and_nothing_wrong_is_said() -> None:
    day = BadDay(GAMES)
    async with day.watched() as poller:
        await day.run_poller(poller, day.life(SIX_MINUTES - 30))
        seen = {(asked.game_id, asked.horizon): asked.minute for asked in day.predictor.asked}
        day.direct.down = True
        await day.run_poller(poller, day.life(HALF + day.stagger + 60))
        day.direct.down = False
        await day.run_poller(poller, day.end, turn=60.0)

    assert {asked.minute for asked in day.predictor.asked if asked.horizon == HALFTIME} <= set(range(6, 18))
    for game_id in day.replay.games:
        missed = [event for event in day.events if isinstance(event, ForecastMissed) and event.game.game_id == game_id]
        [half] = [event for event in missed if event.horizon == HALFTIME]
        assert half.minutes == tuple(range(seen[game_id, HALFTIME] + 1, 24))
        assert half.reason == "already over when the plays showed it"
        first_final = next(event for event in missed if event.horizon == FINAL)
        assert first_final.minutes[0] == seen[game_id, FINAL] + 1
        made = [asked.minute for asked in day.predictor.asked if (asked.game_id, asked.horizon) == (game_id, FINAL)]
        assert made == sorted(set(made)), "each once, and none in hindsight"
        assert not set(made) & {minute for event in missed if event.horizon == FINAL for minute in event.minutes}
    assert {game.failure for game in poller.games.values()} == {""}


async def test_missed_polls_that_leave_time_before_the_half_cost_minutes_and_not_its_last_forecast() -> None:
    day = BadDay(GAMES)
    async with day.watched() as poller:
        await day.run_poller(poller, day.life(SIX_MINUTES - 30))
        day.direct.down = True
        await day.run_poller(poller, day.life(HALF - 200))
        day.direct.down = False
        await day.run_poller(poller, day.life(HALF + day.stagger + 60))
        await day.run_poller(poller, day.end, turn=60.0)

    assert day.patterns["BOS", HALFTIME] == slots(GAMES[0].scores, 23)
    assert day.patterns["MIA", HALFTIME] == slots(GAMES[1].scores, 23)
    assert [event.reason for event in day.events if isinstance(event, ForecastMissed)][:1] == [
        "already over when the plays showed it"
    ]
