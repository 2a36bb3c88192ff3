"""GetServiceStats of a worker has the exact numbers of a known load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.processes.postgres import on_postgres

from dejavu.ops.v1 import operations_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu_client import HALFTIME, AsyncDejavuClient, FailedPreconditionError, InvalidArgumentError, predict_request
from dejavu_server.api.converters.operations import FEED_SECONDS, stats_message
from dejavu_server.api.feed_service import MAX_FEEDS
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.statistics import Statistics
from dejavu_server.worker import sampler


async def stats_when(
    client: AsyncDejavuClient, condition: Callable[[pb.GetServiceStatsResponse], Any]
) -> pb.GetServiceStatsResponse:
    """Return the first statistics that meet a condition."""
    async with asyncio.timeout(30):
        while not condition(stats := await client.get_service_stats()):  # noqa: ASYNC110 - no event says that it changed
            await asyncio.sleep(0.02)
    return stats


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "SAMPLE_SECONDS", 0.02)
    monkeypatch.setattr(sampler, "COVERAGE_SECONDS", 0.02)


def method(window: pb.StatsWindow, name: str) -> pb.MethodStats:
    return next((each for each in window.methods if each.method.endswith(f"/{name}")), pb.MethodStats())


async def test_every_number_is_what_a_known_load_did(client: AsyncDejavuClient) -> None:
    for _ in range(5):
        await client.predict(PATTERN)
    await client.predict_batch([predict_request(PATTERN)] * 3 + [predict_request([999])])
    for _ in range(2):  # the second time, the ledger has it already
        await client.predict(PATTERN, horizon=HALFTIME, game_id=current_game(1))
    for _ in range(4):
        with pytest.raises(InvalidArgumentError):
            await client.predict([999])
    stats = await stats_when(client, lambda stats: method(stats.windows[-1], "Predict").calls == 11)
    assert [window.length_seconds for window in stats.windows] == [60, 300, 900, 0]
    for window in stats.windows:
        counted = {each.horizon: (each.what_ifs, each.recorded, each.already_recorded) for each in window.predictions}
        assert counted == {HORIZON_HALFTIME: (8, 1, 1), HORIZON_FINAL: (0, 0, 0)}
        single, batch = method(window, "Predict"), method(window, "PredictBatch")
        assert {error.code: error.calls for error in single.errors} == {"INVALID_ARGUMENT": 4}
        assert (single.latency.calls, batch.calls, len(batch.errors), window.cache.hits) == (11, 1, 0, 4)
        assert [quantile.share for quantile in single.latency.quantiles] == [0.5, 0.95, 0.99]
    [worker] = stats.server.workers
    assert (worker.name, bool(worker.version)) == ("0", True)


async def test_open_streams_are_counted_while_they_are_open(client: AsyncDejavuClient) -> None:
    events = [client.stream_predictions(heartbeats=True) for _ in range(3)]
    for stream in events:
        await anext(stream)
    assert (await stats_when(client, lambda stats: stats.open_streams == 3)).calls_in_flight <= 1
    for stream in events:
        await stream.aclose()
    await stats_when(client, lambda stats: stats.open_streams == 0)


async def test_the_coverage_is_that_of_the_settled_forecasts(client: AsyncDejavuClient) -> None:
    for number in range(4):
        forecast = await client.predict(PATTERN, horizon=HALFTIME, game_id=current_game(number))
        outcome = round(forecast.point_forecast) + (60 if number == 0 else 0)
        await client.report_outcome(current_game(number), outcome, horizon=HALFTIME)
    stats = await stats_when(client, lambda stats: stats.coverage and stats.coverage[0].games == 4)
    [coverage] = stats.coverage
    assert (coverage.forecasts, coverage.held, coverage.days, coverage.coverage) == (4, 3, 30, 0.75)
    assert coverage.nominal_coverage == pytest.approx(0.95)


async def test_the_newest_report_about_a_feed_is_shown_and_ages(client: AsyncDejavuClient) -> None:
    await client.report_feed("nba", 100, data_age_seconds=200, live_games=3)
    await client.report_feed("nba", 4, data_age_seconds=20, live_games=2)
    stats = await stats_when(client, lambda stats: stats.feeds and stats.feeds[0].live_games == 2)
    age = stats.feeds[0].read_age_seconds
    stats = await stats_when(client, lambda stats: stats.feeds[0].read_age_seconds > age)
    [later] = stats.feeds
    assert later.read_age_seconds == pytest.approx(4 + later.report_age_seconds)
    assert later.data_age_seconds == pytest.approx(20 + later.report_age_seconds)
    await client.report_feed("nba", 4)
    await stats_when(client, lambda stats: not stats.feeds[0].HasField("data_age_seconds"))


async def test_a_caller_cannot_make_a_worker_keep_reports_of_any_number_of_feeds(client: AsyncDejavuClient) -> None:
    for number in range(MAX_FEEDS):
        await client.report_feed(f"feed-{number}", 1)
    with pytest.raises(FailedPreconditionError, match="another"):
        await client.report_feed("another", 1)
    await client.report_feed("nba", 1)
    stats = await client.get_service_stats()
    assert len(stats.feeds) == MAX_FEEDS + 1, "the poller's feed always has room"


async def test_the_ledger_is_described_without_its_place_and_its_size(client: AsyncDejavuClient) -> None:
    """With tokens or behind the page, strangers see the statistics: no path, address or number of free bytes."""
    stats = await stats_when(client, lambda stats: stats.ledger.checkpoint_interval_seconds == 60)
    disk = pb.DISK_STATE_UNSPECIFIED if on_postgres() else pb.DISK_STATE_ENOUGH
    database = pb.DATABASE_KIND_POSTGRESQL if on_postgres() else pb.DATABASE_KIND_SQLITE
    assert stats.ledger == pb.LedgerState(
        database=database, checkpoint_interval_seconds=60, disk=disk, caller_games=200
    )


def test_a_feed_is_shown_for_fifteen_minutes_and_free_space_compared_with_the_reserve() -> None:
    now, metrics = 1e9, Metrics()
    statistics = Statistics(metrics.registry, "server", list)
    for gauge in (metrics.feed_reported, metrics.feed_read):
        gauge.labels("nba", "").set(now)

    def message(age: float = 0.0) -> pb.GetServiceStatsResponse:
        told: Any = {"server": pb.ServerInfo(), "ledger": pb.LedgerState(database=pb.DATABASE_KIND_SQLITE)}
        return stats_message(statistics.sample(), coverage_days=30, now=now + age, **told)

    ages = [[each.read_age_seconds for each in message(age).feeds] for age in (-1, 100, FEED_SECONDS)]
    assert ages == [[0], [100], []]
    assert message().ledger.disk == pb.DISK_STATE_UNSPECIFIED
    metrics.ledger_reserve.set(256)
    metrics.ledger_bytes.set(1000)
    for free, state in (
        (512, pb.DISK_STATE_ENOUGH),
        (511, pb.DISK_STATE_LOW),
        (255, pb.DISK_STATE_BELOW_RESERVE),
    ):
        metrics.ledger_free.set(free)
        assert message().ledger.disk == state
