"""Pollers with a real server: one that restarts takes up its record, and its reports settle all of it."""

from __future__ import annotations

from pathlib import Path

from tests.support.builders.evenings import Evening, game
from tests.support.fakes.every_minute_model import EveryMinuteForecaster
from tests.support.harness.poller import HALF, Watch, watching
from tests.support.harness.summaries import disagreement
from tests.support.processes.servers import async_worker

from dejavu_cli.output.scores import fetch_scorecards
from dejavu_client import FINAL, HALFTIME, AsyncDejavuClient
from dejavu_poller.events import Fault, ForecastMissed, OutcomeReported


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
