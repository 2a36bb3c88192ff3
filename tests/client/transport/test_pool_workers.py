"""One client and all workers of a real server."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN
from tests.support.harness.clients import CLIENTS, AnyClient
from tests.support.processes.postgres import ledger_url
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu_client.transport import channel_pool


async def answering(client: AnyClient, count: int) -> set[str]:
    """Return the workers that answer the next `count` calls."""
    before = client.stats.workers
    for _ in range(count):
        await client.call("predict", PATTERN, timeout=10.0)
    return {worker for worker, calls in client.stats.workers.items() if calls > before.get(worker, 0)}


async def reached(client: AnyClient, workers: set[str]) -> None:
    """Call until N consecutive calls reach all N workers; fail after 60 s."""
    async with asyncio.timeout(60):
        while True:
            if await answering(client, len(workers)) == workers:
                return
            await asyncio.sleep(0.02)  # redials are paced by a clock


def serving(server: SpawnedServer, count: int) -> list[str]:
    """Wait for a number of workers and return their names in order of their start."""
    names = list[str]()
    for _ in range(count):
        names.append(server.wait_for("serving", lambda entry: entry["worker"] not in names)["worker"])
    return names


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow many redials within a minute: the kernel can lead each one to the same worker again."""
    monkeypatch.setattr(channel_pool, "LONGEST_PAUSE", 1.0)
    monkeypatch.setattr(channel_pool, "LONGEST_REPLACEMENT_PAUSE", channel_pool.FIRST_REPLACEMENT_PAUSE)


@pytest.mark.parametrize("workers", [2, pytest.param(4, marks=pytest.mark.nightly)])
async def test_one_client_reaches_every_worker_and_the_successor_of_one_that_died(workers: int, tmp_path: Path) -> None:
    with spawned_server("--workers", str(workers), "--ledger", ledger_url(tmp_path)) as server:
        names = await asyncio.to_thread(serving, server, workers)
        clients = [kind(server.address) for kind in CLIENTS.values()]
        for client in clients:
            await reached(client, set(names))

        os.kill(int(names[0].partition("-")[2]), signal.SIGKILL)
        *_, successor = await asyncio.to_thread(serving, server, workers + 1)
        for client in clients:
            await reached(client, {*names[1:], successor})
            await client.close()


async def test_streams_keep_no_worker_from_the_calls_of_their_client(tmp_path: Path) -> None:
    with spawned_server("--workers", "2", "--ledger", ledger_url(tmp_path)) as server:
        names = await asyncio.to_thread(serving, server, 2)
        for kind in CLIENTS.values():
            async with kind(server.address) as client:
                streams = [client.stream(heartbeats=True) for _ in range(3)]  # one connection is left to the calls
                for stream in streams:
                    await anext(stream)
                await reached(client, set(names))
                for stream in streams:
                    await stream.aclose()
