"""GetServiceStats of a worker has the exact numbers of a known load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.processes.postgres import on_postgres

from dejavu.ops.v1 import operations_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu_client import HALFTIME, AsyncDejavuClient, FailedPreconditionError, InvalidArgumentError, predict_request
from dejavu_server.api.converters.operations import FEED_SECONDS, stats_message
from dejavu_server.api.feed_service import MAX_FEEDS
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.statistics import ServerStatistics, Statistics
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


def message(statistics: ServerStatistics, now: float, **ledger: Any) -> pb.GetServiceStatsResponse:
    server, state = pb.ServerInfo(configured_workers=1), pb.LedgerState(**ledger)
    return stats_message(statistics, server=server, coverage_days=30, ledger=state, now=now)


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
    assert [window.HasField("length_seconds") for window in stats.windows] == [True, True, True, False]
    for window in stats.windows:
        counted = {each.horizon: (each.what_ifs, each.recorded, each.already_recorded) for each in window.predictions}
        assert counted == {HORIZON_HALFTIME: (8, 1, 1), HORIZON_FINAL: (0, 0, 0)}
        single, batch = method(window, "Predict"), method(window, "PredictBatch")
        assert {error.code: error.calls for error in single.errors} == {"INVALID_ARGUMENT": 4}
        assert (batch.calls, len(batch.errors), batch.latency.calls) == (1, 0, 1)
        latency = single.latency
        assert latency.calls == 11
        assert 0 < latency.mean_seconds <= window.covered_seconds
        assert [quantile.share for quantile in latency.quantiles] == [0.5, 0.95, 0.99]
        for quantile in latency.quantiles:
            assert quantile.lower_seconds < quantile.seconds or not quantile.HasField("upper_seconds")
        assert window.cache.hits == 4
    assert stats.server.configured_workers == 1
    [worker] = stats.server.workers
    assert (worker.name, bool(worker.version), worker.grpc_version) == ("0", True, grpc.__version__)


async def test_open_streams_are_counted_while_they_are_open(client: AsyncDejavuClient) -> None:
    events = [client.stream_predictions(heartbeats=True) for _ in range(3)]
    for stream in events:
        await anext(stream)
    assert (await stats_when(client, lambda stats: stats.open_streams == 3)).calls_in_flight <= 1
    for stream in events:
        await stream.aclose()
    await stats_when(client, lambda stats: stats.open_streams == 0)


async def test_the_coverage_is_that_of_the_settled_forecasts(client: AsyncDejavuClient) -> None:
    assert not (await client.get_service_stats()).coverage
    forecasts = [await client.predict(PATTERN, horizon=HALFTIME, game_id=current_game(number)) for number in range(4)]
    for number, forecast in enumerate(forecasts):
        inside = round(forecast.point_forecast)
        await client.report_outcome(current_game(number), inside + (60 if number == 0 else 0), horizon=HALFTIME)
    stats = await stats_when(client, lambda stats: stats.coverage and stats.coverage[0].games == 4)
    [coverage] = stats.coverage
    assert (coverage.horizon, coverage.forecasts, coverage.held, coverage.days) == (HORIZON_HALFTIME, 4, 3, 30)
    assert coverage.coverage == 0.75
    assert coverage.nominal_coverage == pytest.approx(0.95)
    assert coverage.model_version == forecasts[0].model_version


async def test_the_newest_report_about_a_feed_is_shown_and_ages(client: AsyncDejavuClient) -> None:
    assert not (await client.get_service_stats()).feeds
    await client.report_feed("nba", 100, data_age_seconds=200, live_games=3)
    await client.report_feed("nba", 4, data_age_seconds=20, live_games=2)
    stats = await stats_when(client, lambda stats: stats.feeds and stats.feeds[0].live_games == 2)
    [first] = stats.feeds
    stats = await stats_when(client, lambda stats: stats.feeds[0].read_age_seconds > first.read_age_seconds)
    [later] = stats.feeds
    assert later.feed == "nba"
    assert later.read_age_seconds == pytest.approx(4 + later.report_age_seconds)
    assert later.data_age_seconds == pytest.approx(20 + later.report_age_seconds)
    await client.report_feed("nba", 4)
    await stats_when(client, lambda stats: not stats.feeds[0].HasField("data_age_seconds"))


async def test_a_caller_cannot_make_a_worker_keep_reports_of_any_number_of_feeds(client: AsyncDejavuClient) -> None:
    for number in range(MAX_FEEDS):
        await client.report_feed(f"feed-{number}", 1)
    with pytest.raises(FailedPreconditionError) as refused:
        await client.report_feed("another", 1)
    assert refused.value.reason == "TOO_MANY_FEEDS"
    await client.report_feed("nba", 1, live_games=5)
    stats = await client.get_service_stats()
    assert len(stats.feeds) == MAX_FEEDS + 1, "the poller's feed always has room"
    assert [each.live_games for each in stats.feeds if each.feed == "nba"] == [5]


def test_a_report_about_a_feed_is_shown_for_fifteen_minutes() -> None:
    now, metrics = 1e9, Metrics()
    for gauge in (metrics.feed_reported, metrics.feed_read):
        gauge.labels("nba", "").set(now)
    statistics = Statistics(metrics.registry, "server", list).sample()
    shown = [
        [each.read_age_seconds for each in message(statistics, now + age).feeds] for age in (-1, 100, FEED_SECONDS)
    ]
    assert shown == [[0], [100], []]


async def test_the_ledger_is_described_without_its_place_and_its_size(client: AsyncDejavuClient) -> None:
    """With tokens or behind the page, strangers see the statistics: no path, address or number of free bytes."""
    stats = await stats_when(client, lambda stats: stats.ledger.checkpoint_interval_seconds == 60)
    disk = pb.DISK_STATE_UNSPECIFIED if on_postgres() else pb.DISK_STATE_ENOUGH
    database = pb.DATABASE_KIND_POSTGRESQL if on_postgres() else pb.DATABASE_KIND_SQLITE
    assert stats.ledger == pb.LedgerState(
        database=database, checkpoint_interval_seconds=60, disk=disk, caller_games=200
    )


def test_free_space_is_compared_with_the_reserve() -> None:
    rows: Any = (
        (512, pb.DATABASE_KIND_SQLITE, pb.DISK_STATE_ENOUGH),
        (511, pb.DATABASE_KIND_SQLITE, pb.DISK_STATE_LOW),
        (255, pb.DATABASE_KIND_SQLITE, pb.DISK_STATE_BELOW_RESERVE),
        (0, pb.DATABASE_KIND_SQLITE, pb.DISK_STATE_BELOW_RESERVE),
        (None, pb.DATABASE_KIND_POSTGRESQL, pb.DISK_STATE_UNSPECIFIED),
    )
    for free, database, state in rows:
        metrics = Metrics()
        statistics = Statistics(metrics.registry, "server", list)
        assert message(statistics.sample(), 0, database=database).ledger.disk == pb.DISK_STATE_UNSPECIFIED
        metrics.ledger_reserve.set(256)
        metrics.ledger_bytes.set(1000)
        if free is not None:
            metrics.ledger_free.set(free)
        assert message(statistics.sample(), 0, database=database).ledger.disk == state
