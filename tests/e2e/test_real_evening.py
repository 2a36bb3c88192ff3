"""A real evening, from the feed to the subscriber: every forecast is what the trainer computes from the file."""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from tests.support.clock import SteppedClock
from tests.support.servers import spawned_server

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client import AsyncDejavuClient
from dejavu_client.poll_events import Event, Outcome
from dejavu_client.poller import Poller
from dejavu_feed.evening import recorded_evening
from dejavu_feed.local_http import LocalServer
from dejavu_feed.nba import NbaFeed
from dejavu_feed.replay import Replay
from dejavu_models.registry import Registry
from dejavu_models.types import ForecastQuery, ScorePattern
from dejavu_trainer.games import Games, load_games

SEASON = 2023


def busiest(games: Games) -> date:
    """The day of the season with the most games."""
    days, counts = np.unique(games.date, return_counts=True)
    found: date = days[counts.argmax()].item()
    return found


async def subscribe(client: AsyncDejavuClient, standing: asyncio.Event, count: int) -> list[Forecast]:
    """The next forecasts of the stream."""
    received: list[Forecast] = []
    async for response in client.stream_predictions(heartbeats=True):
        standing.set()
        if response.WhichOneof("event") == "forecast":
            received.append(response.forecast)
            if len(received) == count:
                break
    return received


@pytest.mark.real_data
async def test_a_real_evening_gives_the_forecasts_that_the_trainer_computes(data_dir: Path, tmp_path: Path) -> None:
    season = load_games(data_dir, [SEASON])
    day = busiest(season)
    evening = season.select(season.date == np.datetime64(day))
    played, left_out = recorded_evening(data_dir / "nba" / f"plays_{SEASON}.parquet", day)
    assert not left_out
    assert len(played) == len(evening) >= 10

    clock = SteppedClock()
    replay = Replay(played, stagger=600.0, now=clock)
    outcomes: dict[str, int] = {}

    def note(event: Event) -> None:
        if isinstance(event, Outcome):
            outcomes[event.game.home] = event.differential

    with (
        LocalServer(replay.respond) as served,
        closing(NbaFeed(served.url)) as feed,
        spawned_server("--workers", "2", "--ledger", f"sqlite:///{tmp_path / 'ledger.sqlite3'}") as server,
    ):
        address = await asyncio.to_thread(lambda: server.address)
        async with (
            AsyncDejavuClient(address, timeout=30.0) as client,
            Poller(feed, client, on_event=[note], now=clock) as poller,
        ):
            standing = asyncio.Event()
            receiving = asyncio.create_task(subscribe(client, standing, len(played)))
            await standing.wait()
            while clock.now < replay.end:
                clock.step(60.0)
                poller.turn()
                await poller.idle()
            async with asyncio.timeout(30):
                received = await receiving

    assert len({forecast.game_id for forecast in received}) == len(played)
    by_home = {forecast.home_team: forecast for forecast in received}
    model = Registry.load([]).get()
    for home, away, differentials in zip(evening.home, evening.away, evening.differentials, strict=True):
        expected = model.forecast(ForecastQuery(ScorePattern(tuple(map(float, differentials[:18])))))
        forecast = by_home[str(home)]
        assert forecast.away_team == away
        assert (forecast.point_forecast, forecast.interval_lower, forecast.interval_upper) == pytest.approx(
            (expected.point, expected.interval.lower, expected.interval.upper), abs=1e-4
        )
        assert forecast.home_lead_probability == pytest.approx(expected.home_lead_probability, abs=1e-6)
        assert forecast.explanation.baseline_prediction == differentials[17]
        assert outcomes[str(home)] == differentials[23]
