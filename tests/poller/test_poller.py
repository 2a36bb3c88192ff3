"""The poller's outcomes, its end, and its start in mid-game: only minutes without a recorded forecast are missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from tests.support.builders.evenings import (
    HALF,
    ONCE,
    Evening,
    StoringPredictor,
    Watch,
    able_model,
    cut_at,
    game,
    moved,
    watching,
)
from tests.support.fakes.service import forecast
from tests.support.harness.waiting import until

from dejavu.v1.forecast_pb2 import SIDE_HOME
from dejavu.v1.forecast_pb2 import LastScore as LastScoreMessage
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu_client import FINAL, HALFTIME, AsyncDejavuClient
from dejavu_client.errors import UnavailableError, UnimplementedError
from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LastScore, LiveInputs, Side
from dejavu_poller import Poller
from dejavu_poller.events import Fault, ForecastMissed, HorizonResult, Prediction
from dejavu_poller.predictor import load_recorded


async def test_at_the_half_the_outcome_is_told_once() -> None:
    async with watching(Evening([game(lead=3, run=2)]), **ONCE) as watch:
        await watch.minutes(18)
        await watch.at(HALF - 59)
        assert not watch.told(HorizonResult)
        await watch.at(HALF, HALF + 61)

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


@asynccontextmanager
async def after_another(*minutes: int) -> AsyncIterator[Watch]:
    """Yield a second poller, after one that forecast after these minutes."""
    async with watching() as first:
        await first.minutes(*minutes)
    async with watching(first.evening, first.predictor) as second:
        yield second


async def test_the_newest_minute_is_asked_for_all_the_same_and_revised_if_it_was_corrected() -> None:
    async with after_another(9, 10) as second:
        second.edit(moved(-1))
        await second.turn()

    assert [event.forecast.revision for event in second.told(Prediction)] == [1, 1]
    assert sorted(second.seen.horizons[HALFTIME].forecasts) == [9, 10]


async def test_a_game_that_was_over_before_it_began_is_held_against_what_was_forecast() -> None:
    async with after_another(*range(6, 30)) as second:
        await second.over()

    assert [(each.horizon, each.minutes) for each in second.told(ForecastMissed)] == [(FINAL, tuple(range(30, 48)))]
    assert [len(event.forecasts) for event in second.told(HorizonResult)] == [18, 24]


async def test_forecasts_of_another_model_are_not_taken_for_its_own() -> None:
    async with after_another(6, 7) as second:
        second.predictor.models = [able_model(version="newer")]
        await second.minutes(8)

    assert {each.minutes for each in second.told(ForecastMissed)} == {(6, 7)}


async def test_a_server_that_is_away_is_asked_for_them_again() -> None:
    async with after_another(6, 7) as second:
        second.predictor.unrecalled = [UnavailableError("away")] * 2
        second.predictor.recalled = 0
        await second.minutes(8, 9, 10)

    assert second.predictor.recalled == 3
    assert {each.minutes for each in second.told(ForecastMissed)} == {(6, 7)}, "as it seemed"
    assert [of.missed for of in second.poller.summary().horizons] == [0, 0]


@pytest.mark.parametrize(("error", "tries"), [(UnimplementedError("what?"), 1), (UnavailableError("away"), 5)])
async def test_without_an_answer_it_goes_on_as_if_nothing_had_been_forecast(error: Exception, tries: int) -> None:
    predictor = StoringPredictor()
    predictor.unrecalled = [error] * 9
    async with watching(predictor=predictor) as watch:
        await watch.minutes(*range(8, 20))

    assert {each.minutes for each in watch.told(ForecastMissed)} == {(6, 7)}
    assert predictor.minutes(FINAL) == list(range(8, 20))
    assert predictor.recalled == tries
    assert not watch.told(Fault)


async def test_live_inputs_of_recorded_forecasts_are_taken_up() -> None:
    """Then the poller requests a forecast again only if they change."""

    class Record:
        async def list_predictions(self, **_: object) -> Any:
            last = LastScoreMessage(side=SIDE_HOME)
            inputs: list[dict[str, Any]] = [{}, {"total_points": 0}, {"total_points": 9, "last_score": last}]
            for minute, fields in enumerate(inputs, start=1):
                request = PredictRequest(pattern=[1.0] * minute, horizon=HALFTIME)
                made = forecast(request, **fields)
                yield RecordedPrediction(forecast=made, pattern=request.pattern)

    recorded = (await load_recorded(cast("AsyncDejavuClient", Record()), "0022000001", "abc"))[HALFTIME]
    assert [each.live for each in recorded.values()] == [
        NO_LIVE_INPUTS,
        LiveInputs(0),
        LiveInputs(9, LastScore(Side.HOME, 0)),
    ]
