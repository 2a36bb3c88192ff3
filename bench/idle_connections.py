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
import statistics
import sys
import time
from collections import Counter
from contextlib import suppress
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

GREETINGS = (b"", PREFACE, PREFACE + _PING_AND_ACK)
"""What the kinds of idle connections send."""


async def dial(address: str, greeting: bytes, turns: asyncio.Semaphore) -> asyncio.StreamWriter | None:
    """Open an idle connection; return None if it is refused."""
    host, _, port = address.rpartition(":")
    async with turns:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(greeting)
            return writer
    return None


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


async def attempt(address: str, idle: int, options: argparse.Namespace) -> Outcome:
    """Open the idle connections, then let the clients call; return the results."""
    choose, turns = random.Random(options.seed), asyncio.Semaphore(AT_ONCE)
    dialling = asyncio.Semaphore(DIALS_AT_ONCE)
    opened = await asyncio.gather(*(dial(address, GREETINGS[each % 3], dialling) for each in range(idle)))
    if idle:
        await asyncio.sleep(SETTLE_SECONDS)
    codes, times = Counter[str](), list[float]()

    async def call() -> None:
        """Call Predict once on a new connection."""
        async with turns:
            await asyncio.sleep(choose.random() / 10)
            request = pb.PredictRequest(pattern=[float(choose.randint(-20, 20)) for _ in range(18)])
            alone = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
            start = time.perf_counter()
            async with grpc.aio.insecure_channel(address, alone) as channel:
                try:
                    await PredictionServiceStub(channel).Predict(request, timeout=CALL_SECONDS)
                except grpc.aio.AioRpcError as error:
                    codes[error.code().name] += 1
                else:
                    times.append(1000 * (time.perf_counter() - start))

    await asyncio.gather(*(call() for _ in range(options.clients)))
    for writer in opened:
        if writer is not None:
            writer.transport.abort()
    p50, longest = (round(statistics.median(times), 1), round(max(times), 1)) if times else (0.0, 0.0)
    return Outcome(idle, options.clients, len(times), dict(codes), p50, longest)


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
