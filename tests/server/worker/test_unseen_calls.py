"""Calls that gRPC's core ends before they are accepted are counted."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path

from bench.fuzz import wire
from prometheus_client import CollectorRegistry
from tests.support.builders.calls import PATTERN
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.processes.servers import settings_in

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_models.registry.registry import Registry
from dejavu_server.observability.metrics import Metrics
from dejavu_server.worker import unseen_calls
from dejavu_server.worker.limits import MAX_CONCURRENT_STREAMS
from dejavu_server.worker.unseen_calls import UnseenCalls
from dejavu_server.worker.worker import Worker

PREDICT = "/dejavu.v1.PredictionService/Predict"
MESSAGE = wire.prefixed(pb.PredictRequest(pattern=PATTERN).SerializeToString())
FIELDS = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", PREDICT.encode()),
    (b":authority", b"dejavu"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]


class Server:
    """A server with counts of its own."""

    def __init__(self) -> None:
        self.accepted = 0
        self.core = 0

    def started(self) -> int:
        return self.core


def unseen(figures: CollectorRegistry) -> float:
    labels = {"method": "unknown", "reason": "NOT_ACCEPTED"}
    return figures.get_sample_value("dejavu_calls_refused_total", labels) or 0.0


def new_worker(folder: Path, figures: CollectorRegistry) -> Worker:
    return Worker(settings_in(folder), registry=Registry([PersistenceForecaster()]), metrics=Metrics(figures))


def calls(number: int) -> bytes:
    """Returns the bytes of a connection with that many complete calls."""
    headers = wire.header_block(FIELDS)
    frames = [
        wire.frame(wire.HEADERS, wire.END_HEADERS, 2 * call + 1, headers)
        + wire.frame(wire.DATA, wire.END_STREAM, 2 * call + 1, MESSAGE)
        for call in range(number)
    ]
    return wire.PREFACE + wire.frame(wire.SETTINGS, 0, 0) + b"".join(frames)


def block_until_started(started: Callable[[], int], number: int) -> None:
    """Keeps the event loop from accepting calls until the core has started that many."""
    end = time.monotonic() + 30
    while started() < number:
        assert time.monotonic() < end, f"the core has started {started()} of {number} calls"
        time.sleep(0.01)


async def test_calls_that_the_core_has_no_room_for_are_counted(tmp_path: Path) -> None:
    """The event loop is kept from accepting until the core has started all calls."""
    figures = CollectorRegistry()
    async with new_worker(tmp_path, figures) as worker:
        host, _, port = worker.address.rpartition(":")
        server = worker._server
        begun, accepted = server.started(), server.accepted
        connections = [socket.create_connection((host, int(port))) for _ in range(4)]
        for connection in connections:
            connection.sendall(calls(100))
        block_until_started(server.started, begun + 400)
        async with asyncio.timeout(30):
            while unseen(figures) + server.accepted - accepted < 400:  # noqa: ASYNC110 - no event signals it
                await asyncio.sleep(0.02)
        assert unseen(figures) + server.accepted - accepted == 400
        assert unseen(figures) > 400 - 2 * MAX_CONCURRENT_STREAMS
        for connection in connections:
            connection.close()


async def test_the_calls_of_a_full_connection_are_all_accepted(tmp_path: Path) -> None:
    figures = CollectorRegistry()
    async with new_worker(tmp_path, figures) as worker:
        host, _, port = worker.address.rpartition(":")
        server = worker._server
        begun, accepted = server.started(), server.accepted
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(calls(MAX_CONCURRENT_STREAMS))
            block_until_started(server.started, begun + MAX_CONCURRENT_STREAMS)
            async with asyncio.timeout(30):
                while server.accepted < accepted + MAX_CONCURRENT_STREAMS:  # noqa: ASYNC110 - no event signals it
                    await asyncio.sleep(0.02)
    assert unseen(figures) == 0


async def test_a_call_that_waits_a_moment_is_not_counted() -> None:
    figures, server = CollectorRegistry(), Server()
    monitor = UnseenCalls(server, 5, lambda: False, Metrics(figures))
    for look in range(3 * unseen_calls.LOOKS):
        server.core += 5
        server.accepted = server.core - (2 if look % unseen_calls.LOOKS else 0)
        await monitor.check()
    assert unseen(figures) == 0


async def test_what_was_counted_is_not_counted_again() -> None:
    figures, server = CollectorRegistry(), Server()
    monitor = UnseenCalls(server, 5, lambda: False, Metrics(figures))
    for missing in (0, 7, 9, 3, 9, 9):
        server.core, server.accepted = server.core + 10, server.core + 10 - missing
        for _ in range(unseen_calls.LOOKS):
            await monitor.check()
    assert unseen(figures) == 9


async def test_while_the_worker_is_busy_calls_that_may_wait_are_not_counted() -> None:
    figures, server = CollectorRegistry(), Server()
    busy = True
    monitor = UnseenCalls(server, 5, lambda: busy, Metrics(figures))
    counted: list[float] = []
    for missing in (4, 5, 25, 25):
        busy = missing != 25 or not counted[2:]
        server.core = server.accepted + missing
        for _ in range(unseen_calls.LOOKS):
            await monitor.check()
        counted.append(unseen(figures))
    assert counted == [0, 0, 20, 25]
