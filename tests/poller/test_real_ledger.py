"""Pollers with a real server: its ledger keeps one forecast per pattern and shows corrections."""

from __future__ import annotations

from pathlib import Path

from tests.support.builders.evenings import Evening, game
from tests.support.fakes.every_minute_model import EveryMinuteForecaster
from tests.support.harness.poller import HALF, ONCE, SIX_MINUTES, Watch, correct, watching
from tests.support.harness.summaries import disagreement
from tests.support.processes.servers import async_worker

from dejavu_cli.output.scores import fetch_scorecards
from dejavu_client import FINAL, HALFTIME, AsyncDejavuClient
from dejavu_poller.events import Fault, ForecastMissed, HorizonClosed, HorizonResult, OutcomeReported, Prediction


async def test_two_pollers_and_a_restart_share_one_forecast_and_a_correction_is_a_revision(tmp_path: Path) -> None:
    evening = Evening([game(run=2)])
    (game_id,) = evening.ids
    async with async_worker(tmp_path) as worker, AsyncDejavuClient(worker.address) as client:
        async with (
            watching(evening, client=client, **ONCE) as first,
            watching(evening, client=client, **ONCE) as second,
        ):
            await first.at(SIX_MINUTES + 1)
            await second.turn()
            evening.edit[game_id] = lambda plays: correct(plays, until=SIX_MINUTES + 1, by=-1)
            await second.at(SIX_MINUTES + 61)
            await first.turn()
        async with watching(evening, client=client, **ONCE) as restarted:
            await restarted.turn()
            await restarted.at(HALF)

    forecasts = [[event.forecast for event in watch.told(Prediction)] for watch in (first, second, restarted)]
    assert [[forecast.revision for forecast in told] for told in forecasts] == [[0, 1], [0, 1], [1]]
    assert forecasts[0] == forecasts[1]
    assert forecasts[2] == forecasts[0][1:]
    assert forecasts[0][0].sequence < forecasts[0][1].sequence
    assert (forecasts[0][0].point_forecast, forecasts[0][1].point_forecast) == (3.0, 2.0)
    (outcome,) = restarted.told(HorizonResult)
    assert (outcome.covered, outcome.newest.persistence, outcome.differential) == (1, 2, 5)


async def minutes(watch: Watch, *wanted: int) -> None:
    for minute in wanted:
        await watch.at(60.0 * minute + 1)


async def test_a_restart_takes_up_what_the_record_has_and_what_it_reports_settles_all_of_it(tmp_path: Path) -> None:
    evening = Evening([game(run=2)])
    (game_id,) = evening.ids
    async with (
        async_worker(tmp_path, EveryMinuteForecaster()) as worker,
        AsyncDejavuClient(worker.address) as client,
    ):
        async with watching(evening, client=client, from_minute=15) as first:
            await minutes(first, 15, 16, 17)
        async with watching(evening, client=client, from_minute=15) as second:
            await minutes(second, 19, 20, 21, 22, 23)
            await second.at(HALF)
            await minutes(second, *range(24, 48))
            evening.clock.now = evening.replay.end
            for _ in range(3):
                await second.turn()
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


async def test_what_another_poller_has_reported_is_forecast_no_more_and_nothing_goes_wrong(tmp_path: Path) -> None:
    evening = Evening([game(run=2)])
    async with (
        async_worker(tmp_path, EveryMinuteForecaster()) as worker,
        AsyncDejavuClient(worker.address) as client,
        watching(evening, client=client, from_minute=20) as poller,
    ):
        await minutes(poller, 20)
        await client.report_outcome(evening.ids[0], 9, horizon=HALFTIME)
        await minutes(poller, 21, 22)
        await poller.at(HALF)
        await minutes(poller, 24)

    assert [(each.horizon, each.minute) for each in poller.told(HorizonClosed)] == [(HALFTIME, 24), (FINAL, 24)]
    assert [(each.horizon, each.elapsed_minutes) for each in (told.forecast for told in poller.told(Prediction))] == [
        (HALFTIME, 20),
        (FINAL, 20),
        (FINAL, 24),
    ]
    (reported,) = poller.told(OutcomeReported)
    assert (reported.differential, reported.outcome.revision) == (5, 1), "it has seen otherwise, and corrects it"
    assert not poller.told(Fault)
