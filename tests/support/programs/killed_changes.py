"""Two servers with one ledger and one store, whose processes are killed (kill -9) while they change models."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import psutil
from tests.support.processes.restartable_server import Restartable
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1 import model_service_pb2 as pb
from dejavu.v1.model_service_pb2_grpc import ModelServiceStub

if TYPE_CHECKING:
    from dejavu.v1.model_service_pb2_grpc import ModelServiceAsyncStub

SECONDS = 60.0
"""Longest time for anything that is waited for."""

LOST = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""Status codes of a call whose worker has ended."""

Change = Callable[["ModelServiceAsyncStub"], Awaitable[Any]]
"""Asks a server for a change of models."""


class KilledServers:
    """The servers, each of two workers.

    Args:
        start: starts a server at an address.
        choose: chooses the times of the kills.

    Attributes:
        servers: the servers, which keep their addresses.
        kills: number of processes that were killed.
        cut: number of changes whose caller got no answer.
    """

    def __init__(self, start: Callable[[str], SpawnedServer], choose: random.Random) -> None:
        self.servers = [Restartable(start) for _ in range(2)]
        self._choose = choose
        self.kills = self.cut = 0

    @property
    def addresses(self) -> list[str]:
        """The addresses of both servers."""
        return [each.address for each in self.servers]

    async def kill_during(self, change: Change, seconds: float, *, supervisor: bool = False) -> bool:
        """Request a change, and kill the worker that makes it, or its supervisor; return once it is replaced.

        Args:
            change: the change.
            seconds: typical duration of the change. The kill is at a random time within it, or upon the answer.
            supervisor: whether to kill the supervisor, with which its workers end.

        Returns:
            Whether the change was acknowledged.

        Raises:
            grpc.aio.AioRpcError: if it ended with another error than that of a lost server.
            AssertionError: if a worker outlives its supervisor, or none takes the place of one that was killed.
        """
        restartable = self.servers[self.kills % len(self.servers)]
        self.kills += 1
        server = restartable.server
        known = {entry["worker"] for entry in server.events if entry.get("event") == "serving"}
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(restartable.address, options) as channel:
            stub = ModelServiceStub(channel)
            call = stub.ListModels(pb.ListModelsRequest(), timeout=SECONDS, wait_for_ready=True)
            metadata = dict(await call.trailing_metadata())
            worker = psutil.Process(int(str(metadata["dejavu-worker"]).partition("-")[2]))
            asked = asyncio.ensure_future(change(stub))
            await asyncio.wait([asked], timeout=seconds * self._choose.random())
            if supervisor:
                server.process.kill()
            else:
                os.kill(worker.pid, signal.SIGKILL)
            acknowledged = await _ended(asked)
        self.cut += not acknowledged
        if supervisor:
            gone, _ = await asyncio.to_thread(psutil.wait_procs, [worker], SECONDS)
            assert gone, "a worker outlives its supervisor"
            await asyncio.to_thread(restartable.start_again)
        else:
            await asyncio.to_thread(server.wait_for, "serving", lambda entry: entry["worker"] not in known)
        return acknowledged


@contextmanager
def killed_servers(folder: Path, first: Path, choose: random.Random) -> Iterator[KilledServers]:
    """Run the servers, with their ledger and their store in a folder; `first` is the bundle that they begin with."""
    with ExitStack() as stack:

        def start(listen: str) -> SpawnedServer:
            ledger = ("--ledger", f"sqlite:///{folder / 'ledger.sqlite3'}", "--bundle", str(first))
            arguments = ("--listen", listen, "--workers", "2", *ledger, "--model-store", str(folder / "store"))
            return stack.enter_context(spawned_server(*arguments))

        yield KilledServers(start, choose)


async def _ended(asked: asyncio.Future[Any]) -> bool:
    """Wait for the answer to a change; return whether there is one."""
    try:
        await asked
    except grpc.aio.AioRpcError as error:
        if error.code() not in LOST and "it is not retried for" not in (error.details() or ""):
            raise
        return False  # lost, or refused because it ended its worker, as a bundle that crashes its loader does
    return True
