"""The poller, stepped through evenings: its requests, their times, and its events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support.builders.evenings import Evening, StoringPredictor, game
from tests.support.harness.poller import HALF, ONCE, SIX_MINUTES, Watch, watching
from tests.support.harness.waiting import until

from dejavu_client.requests import HALFTIME
from dejavu_feed.nba.live_payloads import GameStatus
from dejavu_poller import Poller
from dejavu_poller.events import ForecastMissed, GameChanged, HorizonResult, Prediction


@pytest.fixture
async def watch() -> AsyncIterator[Watch]:
    async with watching(Evening([game()]), **ONCE) as watch:
        yield watch


async def test_at_the_half_the_outcome_is_told_once() -> None:
    async with watching(Evening([game(lead=3, run=2)]), **ONCE) as watch:
        await watch.at(SIX_MINUTES + 1)
        await watch.at(HALF - 59)
        assert not watch.told(HorizonResult)
        await watch.at(HALF)
        await watch.at(HALF + 61)

        (outcome,) = watch.told(HorizonResult)
        assert (outcome.horizon, outcome.differential, outcome.newest.persistence) == (HALFTIME, 5, 3)
        assert (outcome.game.text, outcome.game.home_score - outcome.game.away_score) == ("Half", 5)
        assert (outcome.covered, outcome.error, outcome.persistence_error) == (1, 1.5, 2)
        assert outcome.brier == pytest.approx(0.0625)
        assert outcome.leader_brier == 0.0


async def test_nothing_is_forecast_when_the_scoreboard_is_past_the_half_and_the_plays_lag_behind(
    watch: Watch,
) -> None:
    (game_id,) = watch.evening.ids
    watch.evening.edit[game_id] = lambda plays: tuple(play for play in plays if play.elapsed < 1300)
    await watch.at(HALF + 61)

    assert not watch.predictor.asked
    assert len(watch.told(ForecastMissed)) == 1


async def test_callbacks_may_be_coroutine_functions() -> None:
    told: list[int] = []

    async def tell(prediction: Prediction) -> None:
        await asyncio.sleep(0)
        told.append(prediction.forecast.sequence)

    evening = Evening([game()])
    async with Poller(evening, StoringPredictor(), on_prediction=[tell], now=evening.clock, **ONCE) as poller:
        evening.go_to(SIX_MINUTES + 1)
        poller.turn()
        await poller.idle()

    assert told == [1]


async def test_games_are_told_when_they_are_seen_tip_off_and_end(watch: Watch) -> None:
    watch.evening.clock.step(-60)
    await watch.turn()
    await watch.at(60)
    await watch.at(120)
    watch.evening.clock.now = watch.evening.replay.end
    await watch.turn()

    statuses = [changed.game.status for changed in watch.told(GameChanged)]
    assert statuses == [GameStatus.SCHEDULED, GameStatus.LIVE, GameStatus.FINAL]


async def test_run_ends_at_once_when_it_is_told_to_stop() -> None:
    evening = Evening([game()])
    seen = asyncio.Event()
    async with Poller(
        evening, StoringPredictor(), interval=3600, on_event=[lambda _: seen.set()], now=evening.clock
    ) as poller:
        running = asyncio.create_task(poller.run())
        await seen.wait()
        poller.stop()
        async with asyncio.timeout(5):
            await running


async def test_between_turns_only_a_game_that_ends_is_read() -> None:
    evening = Evening([game(), game("GSW", "NYK")], stagger=1800.0)
    ending, other = evening.ids
    evening.go_to(2760.0)
    options: dict[str, Any] = {**ONCE, "interval": 3600.0, "end_interval": 0.01}
    async with Poller(evening, StoringPredictor(), now=evening.clock, **options) as poller:
        running = asyncio.create_task(poller.run())
        await until(lambda: evening.reads[ending] > 5)
        poller.stop()
        await running
    assert (evening.reads["scoreboard"], evening.reads[other]) == (1, 1)
