"""Pollers and a real server: its ledger is what keeps a game's forecast one, and makes corrections visible."""

from __future__ import annotations

from pathlib import Path

from tests.support.evenings import Evening, game
from tests.support.servers import async_worker
from tests.support.watching import HALF, ONCE, SIX_MINUTES, correct, watching

from dejavu_client import AsyncDejavuClient
from dejavu_client.poll_events import Outcome, Prediction


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
    (outcome,) = restarted.told(Outcome)
    assert (outcome.held, outcome.newest.persistence, outcome.differential) == (1, 2, 5)
