"""Opens many idle connections to a server with few file descriptors, and counts how many new clients are answered.

Run with `python -m bench.idle_connections` from the project's folder. The servers run one after the other, in
this order, each with the same connections and clients:

- a bare grpc.aio echo (`bench.echo`) with idle connections, which cannot raise its limit of descriptors: a control that
  shows the behaviour of gRPC itself;
- `dejavu-server --workers 2` without idle connections: a control that shows the answers that clients get otherwise;
- `dejavu-server --workers 2` with idle connections.

A third of the idle connections never sends a byte, a third begins HTTP/2 but makes no call, and a third also pings
once. Each client opens a connection, calls Predict once without retries, and closes it. Exits with 1 if fewer than the
share LEAST of the clients of the last server are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from bench.fuzz import wire
from bench.result import Result, program
from bench.servers import echo_server
from tests.support.processes.servers import spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_common.processes import file_limit, raise_file_limit

CALL_SECONDS = 3.0
"""Deadline of a client's call, its connection included."""

SETTLE_SECONDS = 1.0
"""Time between the last idle connection and the first client."""

LEAST = 0.99
"""Share of clients that have to be answered."""

AT_ONCE = 8
"""Number of clients that call at the same time."""


DIALS_AT_ONCE = 64

PREFACE = wire.PREFACE + wire.frame(wire.SETTINGS, 0, 0)
"""Beginning of an HTTP/2 connection, with empty settings."""

_PING_AND_ACK = wire.frame(wire.SETTINGS, 1, 0) + wire.frame(6, 0, 0, bytes(8))
"""Acknowledges the server's settings and pings once, like a connection that was in use."""


class Idle:
    """Idle connections to a server.

    Args:
        address: HOST:PORT.
    """

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._tasks: list[asyncio.Task[None]] = []
        self._opened = asyncio.Semaphore(0)
        self._dialling = asyncio.Semaphore(DIALS_AT_ONCE)

    async def open(self, number: int) -> None:
        """Open connections; return once each is open or refused."""
        self._tasks = [asyncio.create_task(self._hold(each % 3)) for each in range(number)]
        for _ in range(number):
            await self._opened.acquire()

    async def close(self) -> None:
        """Close them all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _hold(self, kind: int) -> None:
        try:
            async with self._dialling:
                reader, writer = await asyncio.open_connection(self._host, self._port)
                if kind:
                    writer.write(PREFACE)
                    if kind == 2:
                        writer.write(_PING_AND_ACK)
        except OSError:
            return
        finally:
            self._opened.release()
        try:
            while await reader.read(65536):
                pass
        except OSError:
            pass
        finally:
            writer.transport.abort()


@dataclass
class Outcome:
    """Results of the clients of one server.

    Attributes:
        idle: idle connections that were opened.
        clients: number of clients.
        answered: number of clients that were answered.
        refused: number of the others, by status code.
        p50_ms: median time of an answered client, its connection included.
        longest_ms: longest such time.
    """

    idle: int = 0
    clients: int = 0
    answered: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    p50_ms: float = 0.0
    longest_ms: float = 0.0


async def client(address: str, request: pb.PredictRequest) -> tuple[str, float]:
    """Call Predict once on a new connection; return the status code and the milliseconds."""
    start = time.perf_counter()
    async with grpc.aio.insecure_channel(
        address, [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    ) as channel:
        code = "OK"
        try:
            await PredictionServiceStub(channel).Predict(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
    return code, 1000 * (time.perf_counter() - start)


async def attempt(address: str, idle: int, options: argparse.Namespace) -> Outcome:
    """Open the idle connections, then let the clients call; return the results."""
    choose, clients = random.Random(options.seed), options.clients
    connections = Idle(address)
    outcome = Outcome(idle=idle, clients=clients)
    if idle:
        await connections.open(idle)
        await asyncio.sleep(SETTLE_SECONDS)
    turns = asyncio.Semaphore(AT_ONCE)

    async def call() -> tuple[str, float]:
        async with turns:
            await asyncio.sleep(choose.random() / 10)
            request = pb.PredictRequest(pattern=[float(choose.randint(-20, 20)) for _ in range(18)])
            return await client(address, request)

    results = await asyncio.gather(*(call() for _ in range(clients)))
    if idle:
        await connections.close()
    times = sorted(milliseconds for code, milliseconds in results if code == "OK")
    outcome.answered = len(times)
    outcome.refused = dict(Counter(code for code, _ in results if code != "OK"))
    if times:
        outcome.p50_ms, outcome.longest_ms = round(times[len(times) // 2], 1), round(times[-1], 1)
    return outcome


@dataclass
class Outcomes(Result):
    """Results of all servers.

    Attributes:
        servers: name of a server → the results of its clients.
    """

    servers: dict[str, Outcome] = field(default_factory=dict)

    def breaches(self) -> list[str]:
        """Describe the failed checks; empty if all pass."""
        last = self.servers["dejavu-server, idle connections"]
        enough = last.answered >= LEAST * last.clients
        return [] if enough else [f"{last.answered} of {last.clients} clients were answered"]

    def report(self) -> str:
        """Return a line for each server."""
        return "\n".join(f"{name:32} {outcome}" for name, outcome in self.servers.items())


async def run(options: argparse.Namespace, folder: Path) -> Outcomes:
    """Run the servers; return the results of the clients of each."""
    raise_file_limit()
    soft, hard = options.soft, file_limit()
    outcomes = Outcomes()
    with echo_server(os.sched_getaffinity(0), within=("prlimit", f"--nofile={soft}:{soft}")) as echo:
        outcomes.servers["echo, idle connections"] = await attempt(echo.address, options.connections, options)
    for name, idle in (("dejavu-server", 0), ("dejavu-server, idle connections", options.connections)):
        ledger = f"sqlite:///{folder / 'ledger.sqlite3'}"
        within = ("prlimit", f"--nofile={soft}:{hard}")
        with spawned_server("--workers", "2", "--ledger", ledger, within=within) as server:
            address = await asyncio.to_thread(lambda: server.address)
            outcomes.servers[name] = await attempt(address, idle, options)
    return outcomes


if __name__ == "__main__":
    sys.exit(program(__doc__, run, connections=2500, clients=500, soft=1024))
