"""Evenings with feed faults end with the forecasts of an evening without: the poller reads the replay's JSON."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.evenings import extend_to_overtime, game
from tests.support.fakes.feed_faults import FeedFaultKind
from tests.support.harness.bad_days import HALF, REGULATION, SIX_MINUTES, BadDay
from tests.support.harness.laws import examples

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_feed.pattern import slots
from dejavu_feed.replay.games import ReplayGame, recorded_evening, simulated_evening
from dejavu_poller.events import Fault, FaultKind, ForecastMissed, HorizonClosed, OutcomeReported

GAMES = (extend_to_overtime(game(lead=3, run=2)), game("MIA", "NYK", lead=-1))
OUTCOMES = {("BOS", HALFTIME): 5, ("BOS", FINAL): 4, ("MIA", HALFTIME): -1, ("MIA", FINAL): -1}
SEEDS = st.integers(0, 10**9)
FINDABLE = sorted(set(FeedFaultKind) - {FeedFaultKind.MIDNIGHT})
"""The kinds with a scoreboard that shows all games, without which a new poller cannot find them."""


def true_patterns(games: Sequence[ReplayGame]) -> dict[tuple[str, Horizon.ValueType], tuple[int, ...]]:
    """Return the patterns of the last minutes from which half and end are forecast."""
    minutes = {HALFTIME: 23, FINAL: 47}
    return {
        (played.home, horizon): slots(played.scores, minute) for played in games for horizon, minute in minutes.items()
    }


@settings(max_examples=examples(1))
@given(seed=SEEDS, restart=st.floats(SIX_MINUTES, REGULATION))
def test_an_evening_with_all_faults_and_a_restart_ends_with_the_forecasts_of_one_without(
    seed: int, restart: float
) -> None:
    day = BadDay(GAMES, FINDABLE, seed=seed)
    asyncio.run(day.run(restart=restart))

    assert day.patterns == true_patterns(GAMES)
    assert not day.told_too_late()


def ends_as_a_good_one(games: Sequence[ReplayGame], seed: int) -> tuple[BadDay, BadDay]:
    """Check that an evening with all faults ends with the forecasts and outcomes of one without; return both.

    Technical fouls before tip-off are points of the game, which last. The last minute may have no score, so that the
    minute before is the newest.
    """
    good, bad = BadDay(games, [FeedFaultKind.TECHNICAL]), BadDay(games, list(FeedFaultKind), seed=seed)
    for day in (good, bad):
        asyncio.run(day.run())

    assert bad.patterns == good.patterns
    assert len(bad.patterns) == 2 * len(games)
    for played in games:
        for horizon in (HALFTIME, FINAL):
            pattern = bad.patterns[played.home, horizon]
            assert pattern == slots(played.scores, len(pattern))
    assert bad.outcomes == good.outcomes
    assert not bad.told_too_late()
    return good, bad


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@settings(max_examples=100)
@given(seed=SEEDS)
def test_simulated_evenings_with_all_faults_end_as_good_ones(seed: int) -> None:
    ends_as_a_good_one(simulated_evening(random.Random(seed), 2), seed)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.real_data
def test_a_real_evening_with_all_faults_ends_as_a_good_one(data_dir: Path) -> None:
    games, _ = recorded_evening(data_dir / "seasons" / "plays_2023.parquet", date(2023, 3, 1))
    good, bad = ends_as_a_good_one(games[:3], 10)

    assert bad.inputs == good.inputs
    assert good.record == bad.record == good.outcomes
    assert not [event for event in good.events if isinstance(event, Fault)]
    reported = {event.kind for event in bad.events if isinstance(event, Fault)}
    assert reported >= {FaultKind.UNAVAILABLE, FaultKind.MALFORMED}, "it was a bad day"


@pytest.mark.nightly
async def test_a_restart_on_a_good_day_leaves_the_very_same_entries() -> None:
    day = BadDay(GAMES)
    await day.run(restart=HALF + 30)

    assert day.patterns == true_patterns(GAMES)
    assert day.predictor.sequence == len(GAMES) * (23 + 47 + 2)
    assert not [event for event in day.events if isinstance(event, ForecastMissed | HorizonClosed)]
    reported = [event for event in day.events if isinstance(event, OutcomeReported)]
    assert len(reported) >= len(OUTCOMES)
