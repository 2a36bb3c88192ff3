"""Faults while calls run: whatever fails must look like something that a careful client may try again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
from tests.support.builders.calls import PATTERN
from tests.support.processes.empty_ledger import ledger_url
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub

RETRIABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
CONNECTIONS = 8


class Callers:
    """Clients that never stop asking, each over a connection of its own; half of them for named games.

    Attributes:
        codes: how the calls ended.
        workers: who answered.
    """

    def __init__(self) -> None:
        self.codes = Counter[grpc.StatusCode]()
        self.workers = set[str]()
        self._answered = asyncio.Event()

    async def answers(self, number: int) -> None:
        """Waits for so many more answers."""
        wanted = self.codes[grpc.StatusCode.OK] + number
        async with asyncio.timeout(20):
            while self.codes[grpc.StatusCode.OK] < wanted:
                self._answered.clear()
                await self._answered.wait()

    async def ask(self, channel: grpc.aio.Channel, number: int) -> None:
        service = PredictionServiceStub(channel)
        game_id = f"99{number:08d}" if number % 2 else ""
        while True:
            call = service.Predict(pb.PredictRequest(pattern=PATTERN, game_id=game_id), timeout=10)
            code = await call.code()
            self.codes[code] += 1
            if code is grpc.StatusCode.OK:
                self.workers.add(str((await call.trailing_metadata())["dejavu-worker"]))
                self._answered.set()
            else:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def callers(address: str) -> AsyncIterator[Callers]:
    """Callers that ask until the end of the block."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 50)]
    asking = Callers()
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, options=options))
            for _ in range(CONNECTIONS)
        ]
        tasks = [asyncio.create_task(asking.ask(channel, number)) for number, channel in enumerate(channels)]
        try:
            yield asking
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def server_in(folder: Path) -> AbstractContextManager[SpawnedServer]:
    return spawned_server("--workers", "2", "--ledger", ledger_url(folder))


async def test_a_worker_killed_under_load_is_no_more_than_unavailable(tmp_path: Path) -> None:
    with server_in(tmp_path) as server:
        async with callers(await asyncio.to_thread(lambda: server.address)) as asking:
            await asking.answers(50)
            victim = next(iter(asking.workers))
            os.kill(int(victim.partition("-")[2]), signal.SIGKILL)
            await asyncio.to_thread(server.wait_for, "worker_died")
            await asking.answers(50)
    assert set(asking.codes) <= {grpc.StatusCode.OK, *RETRIABLE}


async def test_a_drain_under_load_leaves_no_call_that_cannot_be_tried_again(tmp_path: Path) -> None:
    with server_in(tmp_path) as server:
        async with callers(await asyncio.to_thread(lambda: server.address)) as asking:
            await asking.answers(50)
            assert await asyncio.to_thread(server.stop) == 0
    assert set(asking.codes) <= {grpc.StatusCode.OK, *RETRIABLE}
    assert not server.troubles
