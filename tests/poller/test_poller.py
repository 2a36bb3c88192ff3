"""The poller's turns: when it reads, and what it tells of a game."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.builders.evenings import Evening, StoringPredictor, game
from tests.support.harness.poller import HALF, ONCE, cut_at, watching
from tests.support.harness.waiting import until

from dejavu_client.requests import HALFTIME
from dejavu_feed.nba.live_payloads import GameStatus
from dejavu_poller import Poller
from dejavu_poller.events import ForecastMissed, GameChanged, HorizonResult


async def test_at_the_half_the_outcome_is_told_once() -> None:
    async with watching(Evening([game(lead=3, run=2)]), **ONCE) as watch:
        await watch.minutes(18)
        await watch.at(HALF - 59)
        assert not watch.told(HorizonResult)
        await watch.at(HALF)
        await watch.at(HALF + 61)

        [outcome] = watch.told(HorizonResult)
        assert (outcome.horizon, outcome.differential, outcome.newest.persistence) == (HALFTIME, 5, 3)
        assert (outcome.game.text, outcome.game.home_score - outcome.game.away_score) == ("Half", 5)
        assert (outcome.covered, outcome.error, outcome.persistence_error) == (1, 1.5, 2)
        assert outcome.brier == pytest.approx(0.0625)
        assert outcome.leader_brier == 0.0


async def test_nothing_is_forecast_when_the_scoreboard_is_past_the_half_and_the_plays_lag_behind() -> None:
    async with watching(**ONCE) as watch:
        watch.edit(cut_at(1299))
        await watch.at(HALF + 61)

        assert not watch.predictor.asked
        assert len(watch.told(ForecastMissed)) == 1


async def test_games_are_told_when_they_are_seen_tip_off_and_end() -> None:
    async with watching(**ONCE) as watch:
        await watch.turn(after=-60)
        await watch.at(60)
        await watch.at(120)
        await watch.over()

        statuses = [changed.game.status for changed in watch.told(GameChanged)]
        assert statuses == [GameStatus.SCHEDULED, GameStatus.LIVE, GameStatus.FINAL]


async def test_between_turns_only_a_game_that_ends_is_read_and_a_poller_that_is_told_to_stop_ends_at_once() -> None:
    evening = Evening([game(), game("GSW", "NYK")], stagger=1800.0)
    ending, other = evening.ids
    evening.go_to(2760.0)
    options: dict[str, Any] = {**ONCE, "interval": 3600.0, "end_interval": 0.01}
    async with Poller(evening, StoringPredictor(), now=evening.clock, **options) as poller:
        running = asyncio.create_task(poller.run())
        await until(lambda: evening.reads[ending] > 5)
        poller.stop()
        async with asyncio.timeout(5):
            await running
    assert (evening.reads["scoreboard"], evening.reads[other]) == (1, 1)
