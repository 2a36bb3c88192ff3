"""Pollers with a real server: one that restarts takes up its record, and its reports settle all of it."""

from __future__ import annotations

from pathlib import Path

from tests.poller.test_sides import Exchanging, exchange_everything
from tests.support.builders.evenings import HALF, Evening, game, watching
from tests.support.fakes.every_minute_model import EveryMinuteForecaster
from tests.support.harness.real_games import disagreement
from tests.support.processes.servers import async_worker

from dejavu.v1.forecast_pb2 import LATE_REASON_LATER_SECOND, LATE_REASON_SIDES, LATE_REASON_UNSPECIFIED
from dejavu_cli.output.scores import fetch_scorecards
from dejavu_client import FINAL, HALFTIME, AsyncDejavuClient
from dejavu_poller.events import Fault, ForecastMissed, OutcomeReported


async def test_a_restart_takes_up_what_the_record_has_and_what_it_reports_settles_all_of_it(tmp_path: Path) -> None:
    evening = Evening([game(run=2)])
    (game_id,) = evening.ids
    async with async_worker(tmp_path, EveryMinuteForecaster()) as worker, AsyncDejavuClient(worker.address) as client:
        async with watching(evening, client=client, from_minute=15) as first:
            await first.minutes(15, 16, 17)
        async with watching(evening, client=client, from_minute=15) as second:
            await second.minutes(19, 20, 21, 22, 23)
            await second.at(HALF)
            await second.minutes(*range(24, 48))
            await second.over(3)
        cards = await fetch_scorecards(client)
        stored = [each async for each in client.list_predictions(game_id=game_id, page_size=500)]

    assert [(each.horizon, each.minutes) for each in second.told(ForecastMissed)] == [(HALFTIME, (18,)), (FINAL, (18,))]
    assert [(each.horizon, each.differential, each.settled) for each in second.told(OutcomeReported)] == [
        (HALFTIME, 5, 8),
        (FINAL, 5, 32),
    ]
    assert {each.HasField("settlement") for each in stored} == {True}
    assert {each.forecast.HasField("total_points") for each in stored} == {True}
    assert {each.forecast.HasField("last_score") for each in stored} == {True}
    assert {(each.forecast.total_points - each.pattern[-1]) % 2 for each in stored} == {0}
    assert disagreement(second.poller.summary(), cards) == ""
    assert [(card.games, card.forecasts) for card in cards.values()] == [(1, 8), (1, 32)]
    assert not second.told(Fault)


async def test_what_was_forecast_with_exchanged_sides_is_made_again_and_counts_no_more(tmp_path: Path) -> None:
    evening = Exchanging([game(lead=4, run=2)])
    (game_id,) = evening.ids
    async with async_worker(tmp_path, EveryMinuteForecaster()) as worker, AsyncDejavuClient(worker.address) as client:
        async with watching(evening, client=client, from_minute=10, pace=0.0) as watch:
            evening.exchange = exchange_everything
            await watch.minutes(*range(10, 15))
            evening.exchange = None
            await watch.minutes(*range(15, 24))
            await watch.at(HALF + 61)
            await watch.minutes(*range(26, 48))
            await watch.over(3)
        cards = await fetch_scorecards(client)
        stored = [
            each async for each in client.list_predictions(game_id=game_id, page_size=500, include_superseded=True)
        ]

    assert watch.poller.summary().forecasts == 14 + 37
    assert not watch.told(Fault)
    by_sides = {
        sides: [each.forecast for each in stored if (each.forecast.home_team, each.pattern[-1] > 0) == sides]
        for sides in (("BOS", True), ("LAL", False))
    }
    assert len(stored) == sum(map(len, by_sides.values())), "no forecast has the wrong sign"
    assert {(each.elapsed_minutes, each.late) for each in by_sides["LAL", False]} == {
        (minute, LATE_REASON_SIDES) for minute in range(10, 15)
    }
    again = [each for each in by_sides["BOS", True] if each.elapsed_minutes < 15]
    in_time = {(14, LATE_REASON_UNSPECIFIED)}  # the newest
    assert {(each.elapsed_minutes, each.late) for each in again} == in_time | {
        (minute, LATE_REASON_LATER_SECOND) for minute in range(10, 14)
    }
    assert [(card.games, card.forecasts, card.left_out.sides, card.doubtful_games) for card in cards.values()] == [
        (1, 10, 5, 0),
        (1, 33, 5, 0),
    ]
