"""Streams and calls through nginx and HAProxy, with the configurations of docs/deployment.md."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest
from bench.fuzz import wire
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from tests.support.builders.calls import PATTERN
from tests.support.harness.waiting import until
from tests.support.processes.connections import answers
from tests.support.processes.gateway import running_gateway, spawned_gateway
from tests.support.processes.load import load
from tests.support.processes.proxied import ProxiedServers

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import AsyncDejavuClient


@pytest.mark.parametrize("kind", ["nginx", pytest.param("haproxy", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.nightly)])
@pytest.mark.timeout(900)
async def test_nothing_is_lost_or_repeated_when_servers_are_killed_and_the_proxy_is_reloaded(
    tmp_path: Path, kind: str, rounds: int
) -> None:
    with ExitStack() as stack:
        proxied = ProxiedServers(stack, tmp_path, kind)
        await until(lambda: answers(proxied.address))
        async with grpc.aio.insecure_channel(proxied.address) as channel:
            health: Any = HealthStub(channel)
            checked = health.Check(health_pb2.HealthCheckRequest())
            assert await checked.code() is grpc.StatusCode.UNIMPLEMENTED, "no health check comes from outside"
        stack.enter_context(running_gateway(proxied.address))  # says that all is well
        async with load(proxied.address, patient=True) as clients:
            await clients.answers(20)
            for number in range(rounds):
                await proxied.kill(number % 2)
                await clients.answers(50)
                proxied.reload()
                await clients.answers(50)
        clients.check()


@pytest.mark.parametrize("kind", ["nginx", pytest.param("haproxy", marks=pytest.mark.nightly)])
async def test_a_page_behind_a_proxy_knows_that_nothing_is_recorded(tmp_path: Path, kind: str) -> None:
    with ExitStack() as stack:
        proxied = ProxiedServers(stack, tmp_path, kind, "--ledger-reserve-mib", "1048576")
        await until(lambda: answers(proxied.address))
        gateway = stack.enter_context(spawned_gateway("--target", proxied.address))
        await asyncio.to_thread(gateway.wait_for, "status_changed", lambda entry: entry["reason"] == "LEDGER_BROKEN")


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
@pytest.mark.timeout(600)
async def test_a_quiet_stream_of_six_minutes_goes_on(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        proxied = ProxiedServers(stack, tmp_path, kind)
        await until(lambda: answers(proxied.address))
        async with (
            AsyncDejavuClient(proxied.address) as client,
            aclosing(client.stream_predictions(heartbeats=True)) as events,
        ):
            for _ in range(25):  # one every 15 seconds
                assert (await anext(events)).HasField("heartbeat")
    assert "stream_lost" not in caplog.text


OPENING = wire.PREFACE + wire.frame(wire.SETTINGS, 0, 0)
NO_WINDOW = wire.frame(wire.SETTINGS, 0, 0, (4).to_bytes(2, "big") + (0).to_bytes(4, "big"))
"""SETTINGS_INITIAL_WINDOW_SIZE 0: the peer may send headers, and no data."""

SERVICE = "/dejavu.v1.PredictionService"
ADDRESSES, STREAMS = 4, 128
MOST_MEBIBYTES = 32
"""Allowed growth of a server's worker; blocks and answers of these callers would take hundreds without a proxy."""


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def attacked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedServers]:
    with ExitStack() as stack:
        yield ProxiedServers(stack, tmp_path_factory.mktemp("proxied"), request.param, "--cache", "off")


async def connected(proxied: ProxiedServers, number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect from one of many addresses."""
    host, _, port = proxied.address.rpartition(":")
    return await asyncio.open_connection(host, int(port), local_addr=(f"127.0.0.{2 + number}", 0))


async def check_others(stub: Any) -> None:
    """Make calls of another caller, without retries; each must be answered."""
    request = pb.PredictRequest(pattern=PATTERN)
    for _ in range(20):
        await stub.Predict(request, timeout=30)
        await stub.PredictBatch(pb.PredictBatchRequest(requests=[request]), timeout=30)


@pytest.mark.parametrize("indexed", [False, True])
async def test_header_blocks_without_an_end_are_refused_and_stop_no_other_caller(
    attacked: ProxiedServers, *, indexed: bool
) -> None:
    """gRPC's core would keep each of them, in up to 87 bytes for each byte sent, until its connection ends."""

    async def send_block(number: int) -> None:
        reader, writer = await connected(attacked, number)
        ended = asyncio.create_task(reader.read())
        writer.write(OPENING + wire.begun_block(1, f"{SERVICE}/Predict"))
        with contextlib.suppress(ConnectionError):
            while not ended.done():
                writer.write(wire.more_of_block(1, indexed=indexed))
                await writer.drain()
                await asyncio.sleep(0)  # a connection that takes all would leave no turn to the others
        await asyncio.gather(ended, return_exceptions=True)
        writer.transport.abort()

    await until(lambda: answers(attacked.address))
    async with grpc.aio.insecure_channel(attacked.address) as channel, asyncio.timeout(60):
        stub = PredictionServiceStub(channel)
        await check_others(stub)
        before = attacked.memory()
        flood = asyncio.gather(*(send_block(number) for number in range(ADDRESSES)))
        await check_others(stub)
        await flood
        assert attacked.memory() - before < MOST_MEBIBYTES


@pytest.mark.parametrize("method", ["Predict", "PredictBatch"])
async def test_callers_who_read_no_answers_keep_nobody_out(attacked: ProxiedServers, method: str) -> None:
    """Unread answers need no traffic as long as their connections last."""
    large = pb.PredictBatchRequest(requests=[pb.PredictRequest(pattern=PATTERN, return_explanation=True)] * 20)
    asked = large if method == "PredictBatch" else pb.PredictRequest(pattern=PATTERN)
    body = wire.prefixed(asked.SerializeToString())
    await until(lambda: answers(attacked.address))
    async with grpc.aio.insecure_channel(attacked.address) as channel, asyncio.timeout(60):
        stub = PredictionServiceStub(channel)
        await check_others(stub)
        before, writers = attacked.memory(), list[asyncio.StreamWriter]()
        for number in range(ADDRESSES):
            _, writer = await connected(attacked, number)
            writers.append(writer)
            writer.write(wire.PREFACE + NO_WINDOW)
            with contextlib.suppress(ConnectionError):  # the proxy has had enough
                for stream in range(1, 2 * STREAMS, 2):
                    writer.write(wire.request(stream, f"{SERVICE}/{method}", body))
                    await writer.drain()
        await asyncio.sleep(1)
        await check_others(stub)
        assert attacked.memory() - before < MOST_MEBIBYTES
        for writer in writers:
            writer.transport.abort()
