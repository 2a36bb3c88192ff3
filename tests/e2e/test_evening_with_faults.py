"""Compares an evening with every kind of feed fault with the same evening without faults: equal final forecasts.

Uses replay, HTTP, nba_api's reader, the poller, a server of two workers, its ledger and its stream.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from tests.support.builders.evenings import extend_to_overtime
from tests.support.fakes.feed_faults import FeedFaultKind
from tests.support.harness.bad_days import SIX_MINUTES, BadDay
from tests.support.harness.stream_recorder import following
from tests.support.processes.empty_ledger import ledger_url
from tests.support.processes.servers import spawned_server

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client import AsyncDejavuClient
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_feed.nba import NbaFeed
from dejavu_feed.pattern import slots
from dejavu_feed.replay.games import ReplayGame, recorded_evening, simulated_evening
from dejavu_feed.replay.http_server import LocalServer
from dejavu_poller.events import Fault, FaultKind, HorizonClosed

RESTART = SIX_MINUTES + 150
"""Real-time seconds after which the first poller stops: the first game is forecast by then, the others are not."""


Final = tuple[tuple[int, ...], int, int, int, float, float, float]
"""Pattern, total points, side and seconds of the last score, point and interval."""


async def final_forecasts(
    day: BadDay, address: str, *, restart: float | None = None, patience: float = 5.0
) -> dict[tuple[str, Horizon.ValueType], Final]:
    """Play an evening; return the newest forecast of each game and horizon, by home team and horizon.

    Also checks that the stream delivers every revision once and ends with the poller's newest forecasts.
    """
    with LocalServer(day.faulty.respond) as served, closing(NbaFeed(served.url, timeout=patience)) as feed:
        day.feed = feed
        async with AsyncDejavuClient(address, timeout=30.0) as client, following(client) as subscriber:
            await day.run(client, restart=restart)
            await subscriber.until({prediction.forecast.sequence for prediction in day.newest.values()})
    received = subscriber.received
    by_stream = {(forecast.home_team, forecast.horizon): forecast.sequence for forecast in received}
    assert by_stream == {key: prediction.forecast.sequence for key, prediction in day.newest.items()}
    revisions = defaultdict[tuple[str, int, int], list[int]](list)
    for forecast in received:
        revisions[forecast.game_id, forecast.horizon, forecast.elapsed_minutes].append(forecast.revision)
    for of_minute in revisions.values():
        assert of_minute == list(range(len(of_minute))), "every correction is visible, each once"
    return {
        key: (
            event.pattern,
            event.forecast.total_points,
            event.forecast.last_score.side,
            event.forecast.last_score.seconds,
            event.forecast.point_forecast,
            event.forecast.interval_lower,
            event.forecast.interval_upper,
        )
        for key, event in day.newest.items()
    }


async def both_evenings(games: Sequence[ReplayGame], seed: int, folder: Path) -> None:
    # Technical fouls before tip-off are points of the game, which last, and a forecast depends on the total points.
    good = BadDay(games, [FeedFaultKind.TECHNICAL])
    bad = BadDay(games, list(FeedFaultKind), seed=seed)
    assert bad.faulty.midnight > bad.life(RESTART), "a new poller finds only games on the scoreboard"
    with spawned_server("--workers", "2", "--ledger", ledger_url(folder)) as server:
        address = await asyncio.to_thread(lambda: server.address)
        expected = await final_forecasts(good, address)
        actual = await final_forecasts(bad, address, restart=RESTART, patience=1.0)

    assert actual == expected
    assert {key: pattern for key, (pattern, *_) in actual.items()} == {
        (played.home, horizon): slots(played.scores, last)
        for played in games
        for horizon, last in ((HALFTIME, 23), (FINAL, 47))
    }
    assert bad.outcomes == good.outcomes == good.record == bad.record
    assert not [event for event in (*good.events, *bad.events) if isinstance(event, HorizonClosed)]
    assert not bad.told_too_late()
    reported = {event.kind for event in bad.events if isinstance(event, Fault)}
    assert reported >= {FaultKind.UNAVAILABLE, FaultKind.MALFORMED, FaultKind.STALE}, "it was a bad day"
    assert not [event for event in good.events if isinstance(event, Fault)]


@pytest.mark.timeout(600)
@pytest.mark.nightly
async def test_an_evening_with_faults_ends_with_the_same_final_forecasts_as_one_without(tmp_path: Path) -> None:
    first, *others = simulated_evening(random.Random(5), 3)
    await both_evenings([extend_to_overtime(first), *others], 10, tmp_path)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.real_data
async def test_a_real_evening_with_faults_ends_with_the_same_final_forecasts_as_one_without(
    data_dir: Path, tmp_path: Path
) -> None:
    games, _ = recorded_evening(data_dir / "seasons" / "plays_2023.parquet", date(2023, 3, 1))
    await both_evenings(games, 10, tmp_path)
