"""Evenings with all kinds of feed faults, on plain data, end with the forecasts of a faultless evening."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.evenings import game
from tests.support.harness.bad_days import HALF, REGULATION, SIX_MINUTES, TURN
from tests.support.harness.laws import examples
from tests.support.harness.plain_days import PlainDay, Watcher

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.poller.events import ForecastMissed, HorizonClosed, OutcomeReported
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_feed.pattern import slots
from dejavu_feed.replay.faults.kinds import FeedFaultKind
from dejavu_feed.replay.games import ReplayGame, extend_to_overtime, recorded_evening, simulated_evening

GAMES = (extend_to_overtime(game(lead=3, run=2)), game("MIA", "NYK", lead=-1))
OUTCOMES = {("BOS", HALFTIME): 5, ("BOS", FINAL): 4, ("MIA", HALFTIME): -1, ("MIA", FINAL): -1}
SEEDS = st.integers(0, 10**9)


def true_patterns(games: Sequence[ReplayGame]) -> dict[tuple[str, Horizon.ValueType], tuple[int, ...]]:
    """Returns the patterns of the last minutes from which half and end are forecast."""
    minutes = {HALFTIME: 23, FINAL: 47}
    return {
        (played.home, horizon): slots(played.scores, minute) for played in games for horizon, minute in minutes.items()
    }


@settings(max_examples=examples(10))
@given(kind=st.sampled_from(FeedFaultKind), seed=SEEDS)
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


@settings(max_examples=examples(4))
@given(seed=SEEDS)
def test_an_evening_with_all_faults_ends_with_the_forecasts_of_one_without(seed: int) -> None:
    day = PlainDay(GAMES, list(FeedFaultKind), seed=seed)
    day.run()

    assert day.patterns == true_patterns(GAMES)
    assert not day.told_too_late()


@settings(max_examples=examples(3))
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


@settings(max_examples=examples(2))
@given(seed=SEEDS)
def test_simulated_evenings_with_all_faults_end_as_good_ones(seed: int) -> None:
    ends_as_a_good_day(simulated_evening(random.Random(seed), 2), seed)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("quarter", range(4))  # four tests can run in parallel
@settings(max_examples=250)
@given(seed=SEEDS)
def test_a_thousand_simulated_evenings_with_all_faults_end_as_good_ones(quarter: int, seed: int) -> None:
    ends_as_a_good_day(simulated_evening(random.Random(seed), 2), seed)


@pytest.mark.real_data
def test_a_real_evening_with_all_faults_ends_with_the_patterns_of_the_file(data_dir: Path) -> None:
    games, _ = recorded_evening(data_dir / "nba" / "plays_2023.parquet", date(2023, 3, 1))
    ends_as_a_good_day(games[:2], seed=1)


def test_a_restart_on_a_good_day_leaves_the_very_same_entries() -> None:
    alone, restarted = PlainDay(GAMES), PlainDay(GAMES)
    alone.run()
    for until in (SIX_MINUTES - 60, SIX_MINUTES + 60, HALF + 30, REGULATION - 100):
        restarted.watch(Watcher(), restarted.life(until))
    restarted.run()

    assert restarted.patterns == alone.patterns == true_patterns(GAMES)
    assert restarted.predictor.sequence == alone.predictor.sequence == len(GAMES) * (18 + 42 + 2)
    assert not [event for event in restarted.events if isinstance(event, ForecastMissed | HorizonClosed)]
    reported = [event for event in alone.events if isinstance(event, OutcomeReported)]
    assert len(reported) == len(OUTCOMES), "each once"


def test_what_a_feed_hides_until_the_half_is_missed_and_nothing_wrong_is_said() -> None:
    day, watcher = PlainDay(GAMES), Watcher()
    day.watch(watcher, day.life(SIX_MINUTES - 30), turn=TURN)
    seen = {(asked.game_id, asked.horizon): asked.minute for asked in day.predictor.asked}
    day.feed.down = True
    day.watch(watcher, day.life(HALF + day.stagger + 60), turn=TURN)
    day.feed.down = False
    day.watch(watcher, day.end, turn=60.0)

    assert {asked.minute for asked in day.predictor.asked if asked.horizon == HALFTIME} <= set(range(6, 18))
    for game_id in day.replay.games:
        missed = [event for event in day.events if isinstance(event, ForecastMissed) and event.game.game_id == game_id]
        [half] = [event for event in missed if event.horizon == HALFTIME]
        assert half.minutes == tuple(range(seen[game_id, HALFTIME] + 1, 24))
        assert half.reason == "the plays arrived too late"
        first_final = next(event for event in missed if event.horizon == FINAL)
        assert first_final.minutes[0] == seen[game_id, FINAL] + 1
        made = [asked.minute for asked in day.predictor.asked if (asked.game_id, asked.horizon) == (game_id, FINAL)]
        assert made == sorted(set(made)), "each once, and none in hindsight"
        assert not set(made) & {minute for event in missed if event.horizon == FINAL for minute in event.minutes}
    assert {game.failure for game in watcher.games.values()} == {""}


def test_missed_polls_that_leave_time_before_the_half_cost_minutes_and_not_its_last_forecast() -> None:
    day, watcher = PlainDay(GAMES), Watcher()
    day.watch(watcher, day.life(SIX_MINUTES - 30), turn=TURN)
    day.feed.down = True
    day.watch(watcher, day.life(HALF - 200), turn=TURN)
    day.feed.down = False
    day.watch(watcher, day.life(HALF + day.stagger + 60), turn=TURN)
    day.watch(watcher, day.end, turn=60.0)

    assert day.patterns["BOS", HALFTIME] == slots(GAMES[0].scores, 23)
    assert day.patterns["MIA", HALFTIME] == slots(GAMES[1].scores, 23)
    assert [event.reason for event in day.events if isinstance(event, ForecastMissed)][:1] == [
        "the plays arrived too late"
    ]
