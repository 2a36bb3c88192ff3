"""Clients of several servers: if one stops, is not ready or hangs, calls and streams continue on another."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from tests.support.fakes.certificates import Authority
from tests.support.fakes.service import Abort, Ended, FakeServer, event, heartbeat
from tests.support.harness.clients import AnyClient, Asynchronous

from dejavu_client import HealthStatus, UnavailableError, tls_credentials
from dejavu_client.transport import servers

PATTERN = [0.0, 2.0, -3.0]
PATIENT = 60.0


@pytest.fixture
def two_servers() -> Iterator[tuple[FakeServer, FakeServer]]:
    with FakeServer(worker="0-1") as first, FakeServer(worker="0-2") as second:
        yield first, second


def client_of(*servers: FakeServer, timeout: float = PATIENT, **options: object) -> AnyClient:
    return Asynchronous(",".join(each.target for each in servers), timeout=timeout, **options)


def count(server: FakeServer) -> int:
    return len(server.of("Predict"))


async def test_calls_go_round_all_servers_and_on_with_the_others_when_one_stops(
    two_servers: tuple[FakeServer, FakeServer],
) -> None:
    first, second = two_servers
    async with client_of(first, second) as client:
        for _ in range(8):
            await client.call("predict", PATTERN)
        assert count(first) == count(second) == 4
        first.stop()
        for _ in range(8):
            await client.call("predict", PATTERN)
        assert count(second) == 12
        first.start()
        while count(first) == 4:  # it is probed while calls are made
            await client.call("predict", PATTERN)
            await asyncio.sleep(0.02)
        assert client.stats.methods["Predict"].errors == 0


async def test_a_server_that_is_not_serving_gets_no_calls(two_servers: tuple[FakeServer, FakeServer]) -> None:
    first, second = two_servers
    async with client_of(first, second) as client:
        for _ in range(8):
            await client.call("predict", PATTERN)
        first.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        while True:  # the watch of its health tells the client soon
            before = count(first)
            for _ in range(8):
                await client.call("predict", PATTERN)
            if count(first) == before:
                break
        first.health.set("", health_pb2.HealthCheckResponse.SERVING)
        while count(first) == before:
            await client.call("predict", PATTERN)
            await asyncio.sleep(0.02)


async def test_a_call_of_a_draining_server_is_answered_by_another(two_servers: tuple[FakeServer, FakeServer]) -> None:
    first, second = two_servers
    draining = Abort(grpc.StatusCode.UNAVAILABLE, "draining", "DRAINING", retry_after=0.5)
    first.answers("Predict", draining, Abort(grpc.StatusCode.CANCELLED))
    async with client_of(first, second) as client:
        for _ in range(4):
            await client.call("predict", PATTERN)
    assert count(first) + count(second) == 6


async def test_a_server_that_hangs_is_left_for_another(server: FakeServer) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]},{server.target}"
        async with Asynchronous(target, timeout=PATIENT) as client:
            for _ in range(12):
                await client.call("predict", PATTERN)
            assert client.stats.methods["Predict"].max < PATIENT / 2
    assert count(server) == 12


async def test_a_stream_resumes_on_another_server_with_its_token(two_servers: tuple[FakeServer, FakeServer]) -> None:
    first, second = two_servers
    for server in two_servers:  # whichever is asked first: the connection ends after two events
        server.answers("StreamPredictions", [heartbeat("start"), event(1), event(2), Ended()])
    async with client_of(first, second) as client:
        received = list[int]()
        other = second
        async for each in client.stream():
            received.append(each.forecast.sequence)
            if len(received) == 2:
                begun, other = (first, second) if first.of("StreamPredictions") else (second, first)
                begun.stop()
                other.forget("StreamPredictions")
                other.answers("StreamPredictions", [event(2), event(3)])
            if len(received) == 3:
                break
    assert received == [1, 2, 3]
    assert other.of("StreamPredictions")[-1].request.resume_token == "after-2"


async def test_the_certificate_must_have_the_dns_name_rather_than_the_address(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pair = authority.issue("server").contents()
    looked_up = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look_up(_: object) -> list[str]:
        loop.call_soon_threadsafe(looked_up.set)
        return ["127.0.0.1"]

    monkeypatch.setattr(servers, "look_up", look_up)
    credentials = tls_credentials(ca=authority.certificate)
    with FakeServer(credentials=grpc.ssl_server_credentials([pair])) as server:
        async with Asynchronous(f"dns:///localhost:{server.port}", credentials=credentials, timeout=PATIENT) as client:
            await looked_up.wait()
            assert await client.call("health") is HealthStatus.SERVING
            await client.call("predict", PATTERN)
        looked_up.clear()
        # "other.invalid" is not in the certificate, though 127.0.0.1 is.
        other = f"dns:///other.invalid:{server.port}"
        async with Asynchronous(other, credentials=credentials, timeout=10.0) as client:
            await looked_up.wait()
            with pytest.raises(UnavailableError):
                await client.call("predict", PATTERN)
        assert count(server) == 1
