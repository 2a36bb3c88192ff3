"""Header blocks without an end stop no other caller: their connections are cut, and those of honest callers are not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from bench.fuzz import wire
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from tests.support.builders.calls import PATTERN
from tests.support.harness.waiting import until
from tests.support.processes.connections import connections_to
from tests.support.processes.servers import SpawnedServer, async_worker, spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_server.worker.header_floods import ALL_BLOCKS_BYTES, BLOCK_BYTES

PREDICT, WATCH = "/dejavu.v1.PredictionService/Predict", "/grpc.health.v1.Health/Watch"
REQUEST = pb.PredictRequest(pattern=PATTERN)
OPENING = wire.PREFACE + wire.frame(wire.SETTINGS, 0, 0)
WATCHED = OPENING + wire.request(1, WATCH, wire.prefixed(b""))
"""A watch stays in progress, and needs no token."""


@pytest.fixture(scope="module", params=["127.0.0.1", pytest.param("[::1]", marks=pytest.mark.nightly)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpawnedServer]:
    ledger = f"sqlite:///{tmp_path_factory.mktemp('server') / 'ledger.sqlite3'}"
    with spawned_server("--listen", f"{request.param}:0", "--workers", "1", "--ledger", ledger) as process:
        yield process


@contextlib.asynccontextmanager
async def connected(address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def send_block(writer: asyncio.StreamWriter, stream: int, size: int) -> None:
    """Send so many bytes of a header block, or fewer if the server closes the connection."""
    part = wire.more_of_block(stream)
    with contextlib.suppress(ConnectionError):
        writer.write(wire.begun_block(stream, PREDICT))
        for _ in range(size // len(part)):
            writer.write(part)
            await writer.drain()


async def read_to_end(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(65536):
            pass


@pytest.mark.parametrize(("opening", "stream"), [(OPENING, 1), (WATCHED, 3)])
async def test_a_block_without_an_end_is_cut_and_others_are_answered(
    server: SpawnedServer, opening: bytes, stream: int
) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel, connected(server.address) as (reader, writer):
        writer.write(opening)
        sending = asyncio.create_task(send_block(writer, stream, 4 * BLOCK_BYTES))
        ended = asyncio.create_task(read_to_end(reader))
        while not ended.done():
            assert (await PredictionServiceStub(channel).Predict(REQUEST)).HasField("forecast")
        writer.transport.abort()  # what was sent after the end is never read
        await asyncio.gather(sending, ended)
    server.wait_for("header_flood")


async def test_connections_that_are_cut_are_counted(tmp_path: Path) -> None:
    async with async_worker(tmp_path) as worker, connected(worker.address) as (reader, writer):
        writer.write(OPENING)
        await asyncio.gather(send_block(writer, 1, 4 * BLOCK_BYTES), read_to_end(reader))
        await until(lambda: worker.metrics.registry.get_sample_value("dejavu_connections_cut_total") == 1)


async def test_blocks_that_are_small_alone_are_cut_where_they_are_too_many(server: SpawnedServer) -> None:
    size = BLOCK_BYTES // 2
    number = 2 * ALL_BLOCKS_BYTES // size
    async with contextlib.AsyncExitStack() as stack:
        ends = []
        for _ in range(number):
            reader, writer = await stack.enter_async_context(connected(server.address))
            writer.write(OPENING)
            await send_block(writer, 1, size)
            ends.append(asyncio.create_task(read_to_end(reader)))
        while sum(end.done() for end in ends) * size < number * size - ALL_BLOCKS_BYTES:
            await asyncio.wait([end for end in ends if not end.done()], return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()


@contextlib.asynccontextmanager
async def slow(address: str) -> AsyncIterator[str]:
    """Relay one connection to an address, what is sent there in small parts; yield the address to use instead."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pause: float) -> None:
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(16 * 1024):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with connected(address) as (answers, requests):
            ways: list[asyncio.Task[Any]] = [
                asyncio.create_task(relay(reader, requests, 0.01)),
                asyncio.create_task(relay(answers, writer, 0.0)),
                asyncio.create_task(used.wait()),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
        writer.transport.abort()
        await asyncio.sleep(0)
        ended.set()

    used, ended = asyncio.Event(), asyncio.Event()
    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            used.set()
            await ended.wait()


async def test_large_requests_keep_their_connection_while_they_are_received(server: SpawnedServer) -> None:
    item = pb.PredictRequest(pattern=PATTERN, quantile_levels=[level / 100 for level in range(1, 100)])
    batch = pb.PredictBatchRequest(requests=[item] * 1000)
    assert batch.ByteSize() > 3 * BLOCK_BYTES
    async with slow(server.address) as relay, grpc.aio.insecure_channel(relay) as channel:
        code = grpc.StatusCode.DEADLINE_EXCEEDED
        while code is grpc.StatusCode.DEADLINE_EXCEEDED:  # the machine is so busy that it takes longer than allowed
            code = await PredictionServiceStub(channel).PredictBatch(batch, timeout=60).code()
        assert code is grpc.StatusCode.OK


async def test_a_large_request_ends_no_other_call_of_its_connection(server: SpawnedServer) -> None:
    """A proxy sends the calls of many callers over one connection."""
    asked = pb.PredictRequest(pattern=PATTERN, game_id="x" * 4 * BLOCK_BYTES)
    async with slow(server.address) as relay, grpc.aio.insecure_channel(relay) as channel:
        health: Any = HealthStub(channel)  # its types know no Watch
        watching = health.Watch(HealthCheckRequest(), timeout=60)
        await watching.read()
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await PredictionServiceStub(channel).Predict(asked, timeout=60)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await PredictionServiceStub(channel).Predict(REQUEST, timeout=60)).HasField("forecast")
        assert not watching.done()


async def test_behind_a_proxy_that_refuses_header_blocks_no_connection_is_cut(tmp_path: Path) -> None:
    environment = {"DEJAVU_HEADER_FLOODS": "ignore"}
    ledger = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    arguments = ("--workers", "1", "--ledger", ledger, "--grace", "0")
    with spawned_server(*arguments, environment=environment) as server:
        async with grpc.aio.insecure_channel(server.address) as channel, connected(server.address) as (reader, writer):
            writer.write(OPENING)
            await send_block(writer, 1, 2 * BLOCK_BYTES)
            ended = asyncio.create_task(read_to_end(reader))
            for _ in range(300):  # it takes fifty until such a connection is cut
                await PredictionServiceStub(channel).Predict(REQUEST)
            assert not ended.done()
            ended.cancel()


async def test_many_calls_keep_their_connection(server: SpawnedServer) -> None:
    """Refusals are smaller than these requests, which they therefore do not explain."""
    refused = pb.PredictRequest(pattern=PATTERN, quantile_levels=[2.0] * 200)
    async with grpc.aio.insecure_channel(server.address) as channel:
        service = PredictionServiceStub(channel)
        await service.Predict(REQUEST)
        [before] = connections_to(server.address)
        for _ in range(4 * BLOCK_BYTES // refused.ByteSize() // 50):
            codes = await asyncio.gather(*(service.Predict(refused).code() for _ in range(50)))
            assert set(codes) == {grpc.StatusCode.INVALID_ARGUMENT}
        assert connections_to(server.address) == {before}
