"""Streams and calls through nginx and HAProxy, with the configurations of docs/deployment.md."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from tests.support.harness.waiting import until
from tests.support.processes.connections import answers
from tests.support.processes.gateway import running_gateway, spawned_gateway
from tests.support.processes.load import load
from tests.support.processes.proxied import ProxiedServers

from dejavu_client import AsyncDejavuClient
from dejavu_client.doctor.findings import Severity
from dejavu_client.doctor.installation_checks import examine_installation
from dejavu_client.doctor.server_checks import DoctorAccess
from dejavu_client.poller.predictor import check_server
from dejavu_client.transport.servers import parse_servers


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
        found = examine_installation(parse_servers(proxied.address), DoctorAccess(), 10.0)
        [reach] = [each for each in await asyncio.to_thread(list, found) if each.check == "reach"]
        assert (reach.severity, "forwards no health checks" in reach.message) == (Severity.OK, True)
        async with AsyncDejavuClient(proxied.address) as client:
            await check_server(client)  # as the poller does
        stack.enter_context(running_gateway(proxied.address))  # says that all is well
        async with load(proxied.address, patient=True) as clients:
            await clients.answers(20)
            for number in range(rounds):
                await proxied.kill(number % 2)
                await clients.answers(50)
                proxied.reload()
                await clients.answers(50)
        clients.check()


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
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
