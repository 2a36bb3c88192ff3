"""An evening on which the feed fails in every way, on real parts, ends with the forecasts of one on which it does not.

Replay, HTTP, nba_api's reader, poller, a server of two workers, its ledger and its stream; the same games twice.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import date
from pathlib import Path

import pytest
from tests.support.bad_days import SIX_MINUTES, BadDay
from tests.support.servers import spawned_server

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client import AsyncDejavuClient
from dejavu_client.poll_events import Fault, FaultKind
from dejavu_feed.evening import PlayedGame, recorded_evening, simulated_evening
from dejavu_feed.faults.games import into_overtime
from dejavu_feed.faults.kinds import Kind
from dejavu_feed.local_http import LocalServer
from dejavu_feed.nba import NbaFeed
from dejavu_feed.pattern import slots

RESTART = SIX_MINUTES + 150
"""Life seconds after which the first poller is ended: the first game was forecast, the others were not."""


class Subscriber:
    """What the stream brings."""

    def __init__(self) -> None:
        self.received: list[Forecast] = []
        self.standing = asyncio.Event()
        self.more = asyncio.Event()

    async def receive(self, client: AsyncDejavuClient) -> None:
        async for response in client.stream_predictions(heartbeats=True):
            self.standing.set()
            if response.WhichOneof("event") == "forecast":
                self.received.append(response.forecast)
                self.more.set()

    async def until(self, sequences: set[int]) -> None:
        async with asyncio.timeout(60):
            while not sequences <= {forecast.sequence for forecast in self.received}:
                self.more.clear()
                await self.more.wait()


@asynccontextmanager
async def subscribed(client: AsyncDejavuClient) -> AsyncIterator[Subscriber]:
    subscriber = Subscriber()
    receiving = asyncio.create_task(subscriber.receive(client))
    try:
        async with asyncio.timeout(60):
            await subscriber.standing.wait()
        yield subscriber
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)


async def final_forecasts(
    day: BadDay, address: str, *, restart: float | None = None, patience: float = 5.0
) -> dict[str, tuple[tuple[int, ...], float, float, float]]:
    """An evening goes by: pattern, point and interval of each game's newest revision, by its home team.

    The stream has brought every revision that the poller was told of, and ends with the same ones.
    """
    with LocalServer(day.faulty.respond) as served, closing(NbaFeed(served.url, timeout=patience)) as feed:
        day.feed = feed
        async with AsyncDejavuClient(address, timeout=30.0) as client, subscribed(client) as subscriber:
            await day.go_by(client, restart=restart)
            await subscriber.until({prediction.forecast.sequence for prediction in day.newest.values()})
    received = subscriber.received
    by_stream = {forecast.home_team: forecast.sequence for forecast in received}
    assert by_stream == {home: prediction.forecast.sequence for home, prediction in day.newest.items()}
    for game_id in day.replay.games:
        revisions = [forecast.revision for forecast in received if forecast.game_id == game_id]
        assert revisions == list(range(len(revisions))), "every correction is visible, each once"
    return {
        home: (
            event.pattern,
            event.forecast.point_forecast,
            event.forecast.interval_lower,
            event.forecast.interval_upper,
        )
        for home, event in day.newest.items()
    }


async def both_evenings(games: Sequence[PlayedGame], seed: int, folder: Path) -> None:
    good, bad = BadDay(games), BadDay(games, list(Kind), seed=seed)
    assert bad.faulty.midnight > bad.life(RESTART), "what the scoreboard does not show, a new poller cannot find"
    with spawned_server("--workers", "2", "--ledger", f"sqlite:///{folder / 'ledger.sqlite3'}") as server:
        address = await asyncio.to_thread(lambda: server.address)
        expected = await final_forecasts(good, address)
        found = await final_forecasts(bad, address, restart=RESTART, patience=1.0)

    assert found == expected
    assert {home: pattern for home, (pattern, *_) in found.items()} == {
        played.home: slots(played.scores, 18) for played in games
    }
    assert bad.outcomes == good.outcomes
    assert not bad.told_after_the_half()
    told = {event.kind for event in bad.events if isinstance(event, Fault)}
    assert told >= {FaultKind.UNAVAILABLE, FaultKind.MALFORMED, FaultKind.STALE}, "it was a bad day"
    assert not [event for event in good.events if isinstance(event, Fault)]


@pytest.mark.timeout(600)
async def test_an_evening_with_faults_ends_with_the_same_final_forecasts_as_one_without(tmp_path: Path) -> None:
    first, *others = simulated_evening(random.Random(5), 3)
    await both_evenings([into_overtime(first), *others], 10, tmp_path)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.real_data
async def test_a_real_evening_with_faults_ends_with_the_same_final_forecasts_as_one_without(
    data_dir: Path, tmp_path: Path
) -> None:
    games, _ = recorded_evening(data_dir / "nba" / "plays_2023.parquet", date(2023, 3, 1))
    await both_evenings(games, 10, tmp_path)
