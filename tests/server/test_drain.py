"""SIGTERM under load, with everything that could hold a drain up: streams, health watchers, long batches."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from tests.support.builders.calls import GAME, PATTERN
from tests.support.processes.empty_ledger import ledger_url
from tests.support.processes.load import load
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub

GRACE = ("--grace", "300")
"""Longer than any test may take: a drain that is over before the test is did not wait for it."""


def arguments(folder: Path) -> tuple[str, ...]:
    return ("--workers", "1", "--ledger", ledger_url(folder), *GRACE)


@asynccontextmanager
async def watcher(address: str) -> AsyncIterator[Any]:
    """A health watch, on a connection of its own, that has been told SERVING."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        health: Any = HealthStub(channel)  # its types know no Watch
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        yield watch


async def test_a_client_that_can_go_elsewhere_sees_no_drain(tmp_path: Path) -> None:
    """Two servers on one ledger; one of them is drained, and then, when it is back, the other."""
    with ExitStack() as stack:
        one, two = (stack.enter_context(spawned_server(*arguments(tmp_path))) for _ in range(2))
        addresses = [await asyncio.to_thread(attrgetter("address"), each) for each in (one, two)]
        async with load(f"ipv4:{','.join(addresses)}") as clients, watcher(addresses[0]) as watch:
            await clients.answers(100)
            assert await asyncio.to_thread(one.stop) == 0
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert await watch.code() is grpc.StatusCode.UNAVAILABLE
            await clients.answers(100)
            again = stack.enter_context(spawned_server("--listen", addresses[0], *arguments(tmp_path)))
            assert await asyncio.to_thread(lambda: again.address) == addresses[0]
            assert await asyncio.to_thread(two.stop) == 0
            await clients.answers(100)
        clients.check()
        assert await asyncio.to_thread(again.stop) == 0
    assert_quiet(one, two, again)


async def test_a_batch_that_runs_when_the_drain_begins_is_answered_and_nothing_else_is_waited_for(
    tmp_path: Path,
) -> None:
    batch = [
        pb.PredictRequest(pattern=PATTERN, game_id="" if number else GAME, horizon=HORIZON_HALFTIME)
        for number in range(50)
    ]
    with spawned_server(*arguments(tmp_path)) as server:
        address = await asyncio.to_thread(lambda: server.address)
        async with grpc.aio.insecure_channel(address) as channel, watcher(address) as watch:
            service = PredictionServiceStub(channel)
            await service.Predict(pb.PredictRequest(pattern=PATTERN), timeout=60)  # the lock is not waited for long
            with sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None) as lock:
                lock.execute("BEGIN IMMEDIATE")  # nothing can be recorded until it ends
                running = service.PredictBatch(pb.PredictBatchRequest(requests=batch), timeout=60)
                # Over the same connection: when this is answered, the server has the batch too.
                await service.Predict(pb.PredictRequest(pattern=PATTERN), timeout=60)
                server.process.send_signal(signal.SIGTERM)
                assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
                assert await watch.code() is grpc.StatusCode.UNAVAILABLE
                assert not running.done()
                lock.execute("ROLLBACK")
            lock.close()
            results = (await running).results
            assert [result.forecast.sequence for result in results] == [1] + 49 * [0]
            assert await asyncio.to_thread(server.exit_code, seconds=60) == 0
    assert_quiet(server)


def assert_quiet(*servers: SpawnedServer) -> None:
    for server in servers:
        assert not server.troubles, server.log()
        assert server.other_lines == []
