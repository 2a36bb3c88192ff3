"""A poller that starts in mid-game: recorded forecasts count, and only minutes without one are missed."""

from __future__ import annotations

import pytest
from tests.support.builders.evenings import Evening, StoringPredictor, able_model, game
from tests.support.harness.poller import END, Watch, correct, watching

from dejavu_client import FINAL
from dejavu_client.errors import UnavailableError, UnimplementedError
from dejavu_poller.events import Fault, ForecastMissed, HorizonResult, Prediction


async def minutes(watch: Watch, *wanted: int) -> None:
    for minute in wanted:
        await watch.at(60.0 * minute + 1)


async def test_the_newest_minute_is_asked_for_all_the_same_and_revised_if_it_was_corrected() -> None:
    evening, predictor = Evening([game()]), StoringPredictor()
    async with watching(evening, predictor) as first:
        await minutes(first, 9, 10)
    evening.edit[evening.ids[0]] = lambda plays: correct(plays, until=END, by=-1)
    async with watching(evening, predictor) as second:
        await second.turn()

    assert [event.forecast.revision for event in second.told(Prediction)] == [1, 1]
    (watched, _) = second.poller.games[evening.ids[0]].horizons.values()
    assert sorted(watched.forecasts) == [9, 10]


async def test_a_game_that_was_over_before_it_began_is_held_against_what_was_forecast() -> None:
    evening, predictor = Evening([game()]), StoringPredictor()
    async with watching(evening, predictor) as first:
        await minutes(first, *range(6, 30))
    evening.clock.now = evening.replay.end
    async with watching(evening, predictor) as second:
        await second.turn()

    assert [(each.horizon, each.minutes) for each in second.told(ForecastMissed)] == [(FINAL, tuple(range(30, 48)))]
    assert [len(event.forecasts) for event in second.told(HorizonResult)] == [18, 24]


async def test_forecasts_of_another_model_are_not_taken_for_its_own() -> None:
    evening, predictor = Evening([game()]), StoringPredictor()
    async with watching(evening, predictor) as first:
        await minutes(first, 6, 7)
    predictor.models = [able_model(version="newer")]
    async with watching(evening, predictor) as second:
        await minutes(second, 8)

    assert {each.minutes for each in second.told(ForecastMissed)} == {(6, 7)}


async def test_a_server_that_is_away_is_asked_for_them_again() -> None:
    evening, predictor = Evening([game()]), StoringPredictor()
    async with watching(evening, predictor) as first:
        await minutes(first, 6, 7)
    predictor.unrecalled = [UnavailableError("away")] * 2
    predictor.recalled = 0
    async with watching(evening, predictor) as second:
        await minutes(second, 8, 9, 10)

    assert predictor.recalled == 3
    assert {each.minutes for each in second.told(ForecastMissed)} == {(6, 7)}, "as it seemed"
    assert [of.missed for of in second.poller.summary().horizons] == [0, 0]


@pytest.mark.parametrize("error", [UnimplementedError("what?"), *[UnavailableError("away")]])
async def test_without_an_answer_it_goes_on_as_if_nothing_had_been_forecast(error: Exception) -> None:
    evening, predictor = Evening([game()]), StoringPredictor()
    predictor.unrecalled = [error] * 9
    async with watching(evening, predictor) as watch:
        await minutes(watch, *range(8, 20))

    assert {each.minutes for each in watch.told(ForecastMissed)} == {(6, 7)}
    assert predictor.minutes(FINAL) == list(range(8, 20))
    assert predictor.recalled == (1 if isinstance(error, UnimplementedError) else 5)
    assert not watch.told(Fault)
