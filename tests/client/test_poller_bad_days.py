"""Evenings on which the feed goes wrong in every way: they end with the forecasts of a good one, or without."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.bad_days import BadDay
from tests.support.evenings import game

from dejavu_client.poll_events import Fault, FaultKind, Missed, Outcome, Prediction
from dejavu_feed.evening import PlayedGame, simulated_evening
from dejavu_feed.faults.games import into_overtime
from dejavu_feed.faults.kinds import Kind
from dejavu_feed.pattern import slots

GAMES = (into_overtime(game(lead=3, run=2)), game("MIA", "NYK", lead=-1))


def final_patterns(day: BadDay) -> dict[str, tuple[float, ...]]:
    """What the newest revision of each game's forecast rests on, by its home team."""
    return {asked.home_team: asked.pattern for asked in day.predictor.newest()}


def true_patterns(games: Sequence[PlayedGame]) -> dict[str, tuple[float, ...]]:
    return {played.home: slots(played.scores, 18) for played in games}


def told_after_the_half(day: BadDay) -> list[Prediction]:
    """Forecasts that came when the half was over."""
    late = []
    half_over = set()
    for event in day.events:
        if isinstance(event, Outcome):
            half_over.add(event.game.game_id)
        elif isinstance(event, Prediction) and event.game.game_id in half_over:
            late.append(event)
    return late


@pytest.mark.parametrize("kind", Kind)
async def test_an_evening_with_one_kind_of_fault_ends_with_the_forecasts_of_one_without(kind: Kind) -> None:
    day = BadDay(GAMES, [kind], seed=3, rate=1.0)
    poller = await day.go_by()

    assert final_patterns(day) == true_patterns(GAMES)
    outcomes = {event.game.home: event.differential for event in day.events if isinstance(event, Outcome)}
    assert outcomes == {"BOS": 5, "MIA": -1}
    assert not told_after_the_half(day)
    assert poller.summary().settled == 2


@settings(max_examples=5)
@given(seed=st.integers(0, 10**9))
async def test_an_evening_with_all_faults_ends_with_the_forecasts_of_one_without(seed: int) -> None:
    day = BadDay(GAMES, list(Kind), seed=seed)
    await day.go_by()

    assert final_patterns(day) == true_patterns(GAMES)
    assert not told_after_the_half(day)
