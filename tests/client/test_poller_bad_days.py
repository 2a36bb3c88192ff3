"""Evenings on which the feed goes wrong in every way: they end with the forecasts of a good one, or without."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.bad_days import HALF, SIX_MINUTES, BadDay
from tests.support.evenings import game

from dejavu_client.poll_events import Missed
from dejavu_feed.evening import PlayedGame, recorded_evening, simulated_evening
from dejavu_feed.faults.games import into_overtime
from dejavu_feed.faults.kinds import Kind
from dejavu_feed.pattern import slots

GAMES = (into_overtime(game(lead=3, run=2)), game("MIA", "NYK", lead=-1))


def final_patterns(day: BadDay) -> dict[str, tuple[float, ...]]:
    """What the newest revision of each game's forecast rests on, by its home team."""
    return {asked.home_team: asked.pattern for asked in day.predictor.newest()}


def true_patterns(games: Sequence[PlayedGame]) -> dict[str, tuple[float, ...]]:
    return {played.home: slots(played.scores, 18) for played in games}


@pytest.mark.parametrize("kind", Kind)
async def test_an_evening_with_one_kind_of_fault_ends_with_the_forecasts_of_one_without(kind: Kind) -> None:
    day = BadDay(GAMES, [kind], seed=3, rate=1.0)
    poller = await day.go_by()

    assert final_patterns(day) == true_patterns(GAMES)
    assert day.outcomes == {"BOS": 5, "MIA": -1}
    assert not day.told_after_the_half()
    assert poller.summary().settled == 2


@settings(max_examples=5)
@given(seed=st.integers(0, 10**9))
async def test_an_evening_with_all_faults_ends_with_the_forecasts_of_one_without(seed: int) -> None:
    day = BadDay(GAMES, list(Kind), seed=seed)
    await day.go_by()

    assert final_patterns(day) == true_patterns(GAMES)
    assert not day.told_after_the_half()


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@settings(max_examples=100)
@given(seed=st.integers(0, 10**9))
async def test_a_hundred_simulated_evenings_with_all_faults_end_as_good_ones(seed: int) -> None:
    games = simulated_evening(random.Random(seed), 3)
    day = BadDay(games, list(Kind), seed=seed)
    await day.go_by()

    assert final_patterns(day) == true_patterns(games)
    assert not day.told_after_the_half()


@pytest.mark.real_data
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_real_evening_with_all_faults_ends_with_the_patterns_of_the_file(seed: int, data_dir: Path) -> None:
    games, _ = recorded_evening(data_dir / "nba" / "plays_2023.parquet", date(2023, 3, 1))
    day = BadDay(games[:4], list(Kind), seed=seed)
    await day.go_by()

    assert final_patterns(day) == true_patterns(games[:4])
    assert not day.told_after_the_half()


@pytest.mark.parametrize("until", [SIX_MINUTES - 120, SIX_MINUTES + 120, HALF - 300, HALF + 60])
async def test_a_poller_restarted_in_the_middle_of_a_bad_day_does_no_harm(until: float) -> None:
    kinds = set(Kind) - {Kind.MIDNIGHT}  # what the scoreboard does not show, nobody can find anew
    day = BadDay(GAMES, sorted(kinds), seed=11)
    await day.go_by(restart=until)

    assert final_patterns(day) == true_patterns(GAMES)


async def test_a_restart_on_a_good_day_leaves_the_very_same_entries() -> None:
    alone, restarted = BadDay(GAMES), BadDay(GAMES)
    await alone.go_by()
    for until in (SIX_MINUTES - 60, SIX_MINUTES + 60, SIX_MINUTES + 360, HALF + 30):
        async with restarted.watched() as poller:
            await restarted.go_on(poller, restarted.life(until))
    await restarted.go_by()

    assert final_patterns(restarted) == final_patterns(alone) == true_patterns(GAMES)
    assert restarted.predictor.sequence == alone.predictor.sequence == len(GAMES)


async def test_what_a_feed_hides_until_the_half_is_missed_and_nothing_wrong_is_said() -> None:
    day = BadDay(GAMES)
    async with day.watched() as poller:
        await day.go_on(poller, day.life(SIX_MINUTES - 30))
        day.direct.down = True
        await day.go_on(poller, day.life(HALF + day.stagger + 60))
        day.direct.down = False
        await day.go_on(poller, day.end, turn=60.0)

    assert not day.predictor.asked
    assert [(event.game.home, event.reason) for event in day.events if isinstance(event, Missed)] == [
        ("BOS", "no forecast before the half"),
        ("MIA", "no forecast before the half"),
    ]
    assert {game.trouble for game in poller.games.values()} == {""}


async def test_missed_polls_that_leave_time_before_the_half_cost_nothing() -> None:
    day = BadDay(GAMES)
    async with day.watched() as poller:
        await day.go_on(poller, day.life(SIX_MINUTES - 30))
        day.direct.down = True
        await day.go_on(poller, day.life(HALF - 200))
        day.direct.down = False
        await day.go_on(poller, day.life(HALF + day.stagger + 60))
        await day.go_on(poller, day.end, turn=60.0)

    assert final_patterns(day) == true_patterns(GAMES)
