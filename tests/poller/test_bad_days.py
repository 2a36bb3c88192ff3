"""Evenings with feed faults end with the forecasts of an evening without: polled turn by turn, on a stepped clock."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from datetime import date
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.evenings import Evening, StoringPredictor, extend_to_overtime, game
from tests.support.fakes.feed_faults import FaultyReplay
from tests.support.harness.laws import examples

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_feed.errors import FeedUnavailable, MalformedFeed
from dejavu_feed.nba.live_feed import LIVE_PATH
from dejavu_feed.pattern import slots
from dejavu_feed.replay.games import ReplayGame, recorded_evening, simulated_evening
from dejavu_feed.replay.timeline import PACE, QUARTER_BREAK, period_end
from dejavu_poller import Poller
from dejavu_poller.events import (
    Event,
    Fault,
    FaultKind,
    ForecastMissed,
    HorizonClosed,
    HorizonResult,
    OutcomeReported,
    Prediction,
)

STAGGER: Final = 300.0
"""Seconds between the tip-offs of two games."""
SIX_MINUTES: Final = PACE * 1080 + QUARTER_BREAK
ENDS: Final = {HALFTIME: period_end(2), FINAL: period_end(4)}
"""Seconds from tip-off to 6:00 of the second quarter, to the half, and to the end of regulation."""
GAMES = (extend_to_overtime(game(lead=3, run=2)), game("MIA", "NYK", lead=-1))
SEEDS = st.integers(0, 10**9)
Key = tuple[str, Horizon.ValueType]
"""Home team and horizon."""


class BadDay(Evening):
    """Games with feed faults, and the events of successive pollers that watch them.

    Attributes:
        predictor: the server of the pollers.
        events: all events of all pollers, with the seconds since the first tip-off.
    """

    def __init__(self, games: Sequence[ReplayGame], seed: int | None = None, *, midnight: bool = True) -> None:
        super().__init__(games, stagger=STAGGER)
        faulty = None if seed is None else FaultyReplay(self.replay, seed, midnight=midnight)
        self._respond = (faulty or self.replay).respond
        self.predictor = StoringPredictor()
        self.events: list[tuple[float, Event]] = []

    def payload(self, path: str) -> object:
        answer = self._respond(LIVE_PATH + path)
        length = int(answer.headers.get("Content-Length", len(answer.body)))
        if answer.hold or answer.status != HTTPStatus.OK or length != len(answer.body):
            raise FeedUnavailable(f"{path}: no answer")
        try:
            return json.loads(answer.body)
        except ValueError as error:
            raise MalformedFeed(f"{path}: not JSON") from error

    def passed(self) -> float:
        return (self.clock.now - self.replay.start).total_seconds()

    async def run(self, *until: float) -> None:
        """Poll the whole evening, often near the end of a half or of regulation, with a new poller at these times."""
        ends = [end + STAGGER * place for place in range(len(self.ids)) for end in ENDS.values()]
        for last in (*until, (self.replay.end - self.replay.start).total_seconds() + 1200):
            options: dict[str, Any] = {
                "on_event": [lambda event: self.events.append((self.passed(), event))],
                "pace": 0,
            }
            async with Poller(self, self.predictor, now=self.clock, **options) as poller:
                while self.passed() < last:
                    near = any(end - 300 <= self.passed() <= end + 60 for end in ends)
                    poller.turn()
                    await poller.idle()
                    self.clock.step(10.0 if near else 66.0)

    def told(self, kind: type[Any]) -> list[Any]:
        return [event for _, event in self.events if isinstance(event, kind)]

    @property
    def patterns(self) -> dict[Key, tuple[int, ...]]:
        """The patterns of the newest forecasts."""
        return {(each.game.home, each.forecast.horizon): each.pattern for each in self.told(Prediction)}

    @property
    def outcomes(self) -> dict[Key, int]:
        """The last outcomes."""
        return {(each.game.home, each.horizon): each.differential for each in self.told(HorizonResult)}

    def told_too_late(self) -> list[Prediction]:
        """Return forecasts that were made after the end of their horizon."""
        return [
            event
            for passed, event in self.events
            if isinstance(event, Prediction)
            and passed - STAGGER * self.ids.index(event.game.game_id) > ENDS[event.forecast.horizon]
        ]


def true_patterns(games: Sequence[ReplayGame]) -> dict[Key, tuple[int, ...]]:
    """Return the patterns of the last minutes from which half and end are forecast."""
    return {
        (each.home, of): slots(each.scores, minute) for each in games for of, minute in ((HALFTIME, 23), (FINAL, 47))
    }


@settings(max_examples=examples(1))
@given(seed=SEEDS, restart=st.floats(SIX_MINUTES, ENDS[FINAL]))
def test_an_evening_with_all_faults_and_a_restart_ends_with_the_forecasts_of_one_without(
    seed: int, restart: float
) -> None:
    day = BadDay(GAMES, seed, midnight=False)  # without a scoreboard a new poller cannot find the games
    asyncio.run(day.run(restart))

    assert day.patterns == true_patterns(GAMES)
    assert not day.told_too_late()
    assert {event.kind for event in day.told(Fault)} >= {FaultKind.UNAVAILABLE, FaultKind.MALFORMED}, "it was a bad day"


def ends_as_a_good_one(games: Sequence[ReplayGame], seed: int) -> tuple[BadDay, BadDay]:
    """Check that an evening with all faults ends with the forecasts and outcomes of one without; return both.

    The last minute may have no score, so that the minute before is the newest.
    """
    good, bad = BadDay(games), BadDay(games, seed)
    for day in (good, bad):
        asyncio.run(day.run())

    assert bad.patterns == good.patterns
    assert len(bad.patterns) == 2 * len(games)
    for played in games:
        for horizon in ENDS:
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

    last = [
        {(each.home_team, each.horizon): (each.total_points, each.last_score) for each in day.predictor.asked}
        for day in (good, bad)
    ]
    assert last[0] == last[1]
    for day in (good, bad):
        told = day.told(OutcomeReported)
        assert {(each.game.home, each.horizon): each.outcome.differential for each in told} == good.outcomes
    assert not good.told(Fault)


@pytest.mark.nightly
async def test_a_restart_on_a_good_day_leaves_the_very_same_entries() -> None:
    day = BadDay(GAMES)
    await day.run(ENDS[HALFTIME] + 30)

    assert day.patterns == true_patterns(GAMES)
    assert day.predictor.sequence == len(GAMES) * (23 + 47 + 2)
    assert not day.told(ForecastMissed | HorizonClosed)  # type: ignore[arg-type]
    assert len(day.told(OutcomeReported)) >= 2 * len(GAMES)
