"""Evenings with all kinds of feed faults, on plain data, end with the forecasts of a faultless evening."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.client.poller.test_bad_days import GAMES, OUTCOMES, true_patterns
from tests.support.harness.bad_days import REGULATION, SIX_MINUTES
from tests.support.harness.laws import examples
from tests.support.harness.plain_days import PlainDay

from dejavu_client.poller.events import HorizonClosed
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_feed.pattern import slots
from dejavu_feed.replay.faults.kinds import FeedFaultKind
from dejavu_feed.replay.games import ReplayGame, recorded_evening, simulated_evening

SEEDS = st.integers(0, 10**9)


@pytest.mark.parametrize("kind", FeedFaultKind)
@settings(max_examples=examples(2))
@given(seed=SEEDS)
def test_an_evening_with_one_kind_of_fault_ends_with_the_forecasts_of_one_without(
    kind: FeedFaultKind, seed: int
) -> None:
    day = PlainDay(GAMES, [kind], seed=seed, rate=1.0)
    watcher = day.run()

    assert day.patterns == true_patterns(GAMES)
    assert day.outcomes == day.record == OUTCOMES
    assert not [event for event in day.events if isinstance(event, HorizonClosed)]
    assert not day.told_too_late()
    assert {game.failure for game in watcher.games.values() if game.horizons[FINAL].outcome} == {""}


@settings(max_examples=examples(10))
@given(seed=SEEDS)
def test_an_evening_with_all_faults_ends_with_the_forecasts_of_one_without(seed: int) -> None:
    day = PlainDay(GAMES, list(FeedFaultKind), seed=seed)
    day.run()

    assert day.patterns == true_patterns(GAMES)
    assert not day.told_too_late()


@settings(max_examples=examples(8))
@given(seed=SEEDS, restart=st.floats(SIX_MINUTES, REGULATION))
def test_a_watcher_that_takes_over_in_the_middle_of_a_bad_day_does_no_harm(seed: int, restart: float) -> None:
    # A new watcher cannot find a game that the scoreboard does not show.
    kinds = sorted(set(FeedFaultKind) - {FeedFaultKind.MIDNIGHT})
    day = PlainDay(GAMES, kinds, seed=seed)
    day.run(restart=restart)

    assert day.patterns == true_patterns(GAMES)
    assert not day.told_too_late()


def ends_as_a_good_day(games: Sequence[ReplayGame], seed: int) -> None:
    """Checks games as played: the last minute may have no score, so that the minute before is the newest."""
    good, bad = PlainDay(games), PlainDay(games, list(FeedFaultKind), seed=seed)
    good.run()
    bad.run()

    assert bad.patterns == good.patterns
    assert len(bad.patterns) == 2 * len(games)
    for played in games:
        for horizon in (HALFTIME, FINAL):
            pattern = bad.patterns[played.home, horizon]
            assert pattern == slots(played.scores, len(pattern))
    assert bad.outcomes == good.outcomes
    assert not bad.told_too_late()


@settings(max_examples=examples(3))
@given(seed=SEEDS)
def test_simulated_evenings_with_all_faults_end_as_good_ones(seed: int) -> None:
    ends_as_a_good_day(simulated_evening(random.Random(seed), 3), seed)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("quarter", range(4))  # four tests can run in parallel
@settings(max_examples=250)
@given(seed=SEEDS)
def test_a_thousand_simulated_evenings_with_all_faults_end_as_good_ones(quarter: int, seed: int) -> None:
    ends_as_a_good_day(simulated_evening(random.Random(seed), 3), seed)


@pytest.mark.real_data
@pytest.mark.parametrize("seed", [1, 2])
def test_a_real_evening_with_all_faults_ends_with_the_patterns_of_the_file(seed: int, data_dir: Path) -> None:
    games, _ = recorded_evening(data_dir / "nba" / "plays_2023.parquet", date(2023, 3, 1))
    ends_as_a_good_day(games[:3], seed)
