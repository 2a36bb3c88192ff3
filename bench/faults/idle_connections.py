"""Opens many idle connections to a server with few file descriptors, and counts how many new clients are answered.

Run with `python -m bench.faults.idle_connections` from the project's folder. The servers run one after the other, in
this order, each with the same connections and clients:

- a bare grpc.aio echo (`bench.echo`) with idle connections, which cannot raise its limit of descriptors: a control that
  shows the behaviour of gRPC itself;
- `dejavu-server --workers 2` without idle connections: a control that shows the answers that clients get otherwise;
- `dejavu-server --workers 2` with idle connections.

A third of the idle connections never sends a byte, a third begins HTTP/2 but makes no call, and a third also pings
once. Each client opens a connection, calls Predict once without retries, and closes it. Exits with 1 if fewer than the
share `--least` of the clients of the last server are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import grpc
import uvloop
from bench.faults.idle import Idle
from tests.support.processes.servers import spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_common.processes import file_limit, raise_file_limit

CALL_SECONDS = 3.0
"""Deadline of a client's call, its connection included."""

SETTLE_SECONDS = 1.0
"""Time between the last idle connection and the first client."""

AT_ONCE = 8
"""Number of clients that call at the same time."""


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


async def attempt(address: str, idle: int, clients: int, seed: int) -> Outcome:
    """Open the idle connections, then let the clients call; return the results."""
    choose = random.Random(seed)
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


@contextmanager
def echo(within: Sequence[str]) -> Iterator[str]:
    """Run the echo server; yield its address."""
    with subprocess.Popen(
        [*within, sys.executable, "-m", "bench.echo"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pb.PredictResponse().SerializeToString().hex() + "\n")
        process.stdin.flush()
        yield process.stdout.readline().strip()
        process.kill()


async def run(options: argparse.Namespace, folder: Path) -> dict[str, Outcome]:
    """Run the servers; return the results of the clients of each."""
    hard = file_limit()
    outcomes = {}
    with echo(("prlimit", f"--nofile={options.soft}:{options.soft}")) as address:
        outcomes["echo, idle connections"] = await attempt(address, options.connections, options.clients, options.seed)
    for name, idle in (("dejavu-server", 0), ("dejavu-server, idle connections", options.connections)):
        ledger = f"sqlite:///{folder / 'ledger.sqlite3'}"
        within = ("prlimit", f"--nofile={options.soft}:{hard}")
        with spawned_server("--workers", "2", "--ledger", ledger, within=within) as server:
            address = await asyncio.to_thread(lambda: server.address)
            outcomes[name] = await attempt(address, idle, options.clients, options.seed)
    return outcomes


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> int:
    """Run the program; return the exit code."""
    parser = argparse.ArgumentParser(description="calls a server that has many idle connections")
    parser.add_argument("--connections", type=int, default=2500)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--soft", type=int, default=1024, help="soft limit of open files of the servers")
    parser.add_argument("--least", type=float, default=0.99, help="share of clients that have to be answered")
    parser.add_argument("--seed", type=int, default=1, help="seed of the requests and of the clients' pauses")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    raise_file_limit()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = uvloop.run(run(options, Path(folder)))
    if options.json:
        show(json.dumps({name: asdict(outcome) for name, outcome in outcomes.items()}))
    else:
        for name, each in outcomes.items():
            show(
                f"{name:32} {each.idle:5} idle  {each.answered} of {each.clients} clients answered, "
                f"p50 {each.p50_ms} ms, longest {each.longest_ms} ms; others {each.refused or 'none'}"
            )
    last = outcomes["dejavu-server, idle connections"]
    if last.answered < options.least * last.clients:
        print(f"broken: {last.answered} of {last.clients} clients were answered", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
