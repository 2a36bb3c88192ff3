"""Idle connections are closed when descriptors run low, the others are kept; limits are raised as far as they go."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import psutil
import pytest
from structlog.testing import capture_logs
from tests.support.builders.calls import PATTERN
from tests.support.processes.servers import spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_common import descriptors
from dejavu_server.observability.metrics import Metrics
from dejavu_server.worker import connection_closer
from dejavu_server.worker.connection_closer import CLOSED_SHARE, CLOSING_SHARE, ConnectionCloser
from dejavu_server.worker.worker import Worker

if TYPE_CHECKING:
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub


@pytest.fixture(autouse=True)
def _only_the_closer_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's own closer, in the same process, would see the same patched descriptors."""
    monkeypatch.setattr(connection_closer, "CHECK_SECONDS", 3600.0)


async def dial(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Opens a connection on which nothing is sent."""
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


@pytest.fixture
async def silent(worker: Worker) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Thirty connections to `worker` on which nothing was ever sent."""
    opened = [await dial(worker.address) for _ in range(30)]
    yield [reader for reader, _ in opened]
    for _, writer in opened:
        writer.transport.abort()


def closer(worker: Worker, metrics: Metrics) -> ConnectionCloser:
    """A closer for a worker in this process, beside the worker's own, which has descriptors enough."""
    return ConnectionCloser(int(worker.address.rpartition(":")[2]), lambda: worker._calls.peers, metrics)


async def test_idle_connections_are_closed_when_descriptors_run_low_and_those_with_calls_are_kept(
    worker: Worker,
    service: PredictionServiceAsyncStub,
    silent: list[asyncio.StreamReader],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading = [asyncio.create_task(reader.read()) for reader in silent]
    stream = service.StreamPredictions(pb.StreamPredictionsRequest())
    assert (await stream.read()).WhichOneof("event") == "heartbeat"  # type: ignore[attr-defined]  # a message
    monkeypatch.setattr(connection_closer, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(descriptors, "limit", lambda: 1000)
    metrics = Metrics()
    watched = closer(worker, metrics)
    monkeypatch.setattr(descriptors, "count", lambda: int(1000 * CLOSING_SHARE) - 1)
    await watched.check()
    assert metrics.connections_closed._value.get() == 0
    monkeypatch.setattr(descriptors, "count", lambda: int(1000 * CLOSING_SHARE))
    with capture_logs() as log:
        async with asyncio.timeout(60):
            while metrics.connections_closed._value.get() < len(silent):
                await watched.check()
            await asyncio.wait(reading)
        await watched.check()
    await service.Predict(pb.PredictRequest(pattern=PATTERN, game_id="9900000001"))
    event = await stream.read()
    assert event.WhichOneof("event") == "forecast"  # type: ignore[attr-defined]  # a message
    assert metrics.connections_closed._value.get() == len(silent)
    assert [entry["event"] for entry in log] == ["idle_connections_closed"]  # rate-limited
    stream.cancel()


async def test_no_more_connections_are_closed_than_needed_and_the_most_silent_first(
    worker: Worker, silent: list[asyncio.StreamReader]
) -> None:
    await asyncio.sleep(0.05)  # the kernel tells silence in steps of some milliseconds: the last one must differ
    reader, writer = await dial(worker.address)
    port = int(worker.address.rpartition(":")[2])
    reading = [asyncio.create_task(each.read()) for each in silent]
    last = asyncio.create_task(reader.read())
    assert connection_closer.close_idle(port, (), 10, 60.0) == 0  # none has been silent for a minute
    assert connection_closer.close_idle(port, (), 10, 0.0) == 10
    async with asyncio.timeout(60):
        while sum(each.done() for each in reading) < 10:
            await asyncio.wait([each for each in reading if not each.done()], return_when=asyncio.FIRST_COMPLETED)
    assert not last.done()
    writer.transport.abort()
    await asyncio.wait([last])


def test_peers_are_named_as_grpc_names_them() -> None:
    for family, host, named in (
        (socket.AF_INET, "127.0.0.1", "ipv4:127.0.0.1"),
        (socket.AF_INET6, "::1", "ipv6:%5B::1%5D"),
    ):
        with socket.socket(family) as listener:
            listener.bind((host, 0))
            listener.listen()
            port = listener.getsockname()[1]
            with socket.create_connection((host, port)) as near, listener.accept()[0] as far:
                assert connection_closer._peer(far, port) == f"{named}:{near.getsockname()[1]}"
                assert connection_closer._peer(near, port) == ""
                assert connection_closer._peer(listener, port) == ""


async def test_a_call_in_progress_has_its_peer_counted_and_none_is_left_behind(
    worker: Worker, channel: grpc.aio.Channel
) -> None:
    stub: PredictionServiceAsyncStub = PredictionServiceStub(channel)
    streams = [stub.StreamPredictions(pb.StreamPredictionsRequest()) for _ in range(3)]
    for stream in streams:
        await stream.read()
    assert list(worker._calls.peers.values()) == [3]
    [peer] = worker._calls.peers
    assert peer.startswith("ipv4:127.0.0.1:")
    for stream in streams:
        stream.cancel()
    async with asyncio.timeout(60):
        while worker._calls.peers:  # noqa: ASYNC110 - no event signals it
            await asyncio.sleep(0.01)
    assert CLOSED_SHARE < CLOSING_SHARE


@pytest.mark.parametrize(("limits", "warns"), [((256, 512), True), ((256, 4096), False)])
def test_supervisor_and_workers_raise_their_soft_limit_to_the_hard_one_and_warn_of_a_low_one(
    tmp_path: Path, limits: tuple[int, int], warns: bool
) -> None:
    within = ("prlimit", f"--nofile={limits[0]}:{limits[1]}")
    arguments = ("--workers", "1", "--ledger", f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    with spawned_server(*arguments, within=within) as server:
        assert server.address
        processes = [psutil.Process(server.process.pid), *server.workers]
        found = {process.rlimit(resource.RLIMIT_NOFILE) for process in processes}
        warned = [entry for entry in server.events if entry["event"] == "few_descriptors"]
    assert len(processes) == 2
    assert found == {(limits[1], limits[1])}
    assert bool(warned) == warns
    assert all(entry["limit"] == limits[1] and "LimitNOFILE" in entry["advice"] for entry in warned)


def test_open_files_are_counted() -> None:
    before = descriptors.count()
    with socket.socket(), socket.socket():
        assert descriptors.count() == before + 2
