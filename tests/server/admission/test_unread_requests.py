"""Requests of streams, and data that callers send after them, take little memory, even without a token."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1.prediction_service_pb2 import StreamPredictionsRequest
from dejavu_server.api.decoding import MAX_BYTES, MAX_REQUEST_BYTES

WATCH, STREAM = "/grpc.health.v1.Health/Watch", "/dejavu.v1.PredictionService/StreamPredictions"
STREAMS = 60
LARGE = b"x" * (MAX_REQUEST_BYTES - 64)
MOST_MEBIBYTES = STREAMS // 2
"""Maximum growth of a worker's memory: half a mebibyte for each stream."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpawnedServer]:
    ledger = f"sqlite:///{tmp_path_factory.mktemp('server') / 'ledger.sqlite3'}"
    with spawned_server("--workers", "1", "--ledger", ledger) as process:
        yield process


@pytest.mark.parametrize(
    ("method", "request_", "most"),
    [
        (WATCH, HealthCheckRequest(service="x" * 1024), 1024),
        (STREAM, StreamPredictionsRequest(resume_token="x" * MAX_BYTES), MAX_BYTES),
    ],
)
async def test_a_stream_that_asks_for_far_more_than_any_is_refused(
    server: SpawnedServer, method: str, request_: HealthCheckRequest | StreamPredictionsRequest, most: int
) -> None:
    """The request stays in memory as long as the stream lasts."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        stream: Any = channel.unary_stream(method)
        call = stream(request_.SerializeToString(), timeout=5)
        assert (await call.code(), await call.details()) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            f"the request has {request_.ByteSize()} bytes; expected at most {most}",
        )


async def test_what_callers_of_a_watch_send_after_their_request_is_not_kept(server: SpawnedServer) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        watch: Any = channel.stream_stream(WATCH)
        calls = [watch() for _ in range(STREAMS)]
        [worker] = server.workers
        before = worker.memory_info().rss
        for call in calls:
            await call.write(b"")
            assert await call.read() == b"\x08\x01"  # it serves
        writing = [asyncio.create_task(_write(call)) for call in calls]
        await asyncio.sleep(2)
        grown = (worker.memory_info().rss - before) >> 20
        for task, call in zip(writing, calls, strict=True):
            task.cancel()
            call.cancel()
        assert grown < MOST_MEBIBYTES


async def _write(call: Any) -> None:
    """Send as much as is accepted."""
    with contextlib.suppress(asyncio.CancelledError, asyncio.InvalidStateError):
        while True:
            await call.write(LARGE)
