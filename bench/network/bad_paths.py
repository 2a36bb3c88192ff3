"""Sends calls whose path is not UTF-8, each on a new connection, and measures the goodput of other callers.

Run with `python -m bench.network.bad_paths` from the project's folder. It attacks a `dejavu-server` with two workers, a
stock grpc.aio server and, with `--mlserver PYTHON`, the MLServer that this Python has installed. For each, phases
without and with the attack alternate in one run; a caller makes calls at a fixed rate in both. Exits with 1 if a worker
of Dejavu dies, or if its goodput under attack falls below the share `--least` of the goodput without.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from bench.fuzz import wire
from bench.latency import helper
from bench.load import METHOD
from bench.overload.servers import REQUEST, running_mlserver
from tests.support.processes.servers import spawned_server

DEADLINE_SECONDS = 3.0


@dataclass
class Target:
    """A server under attack.

    Attributes:
        name: the name that is printed.
        address: HOST:PORT.
        method: path of the method that the caller calls.
        request: its request.
        processes: returns the living processes that serve.
        before: ids of the processes that serve at the start.
        good: calls answered, without and with the attack.
        made: calls made, without and with the attack.
        attacks: connections that sent a bad path.
    """

    name: str
    address: str
    method: str
    request: bytes
    processes: Callable[[], set[int]]
    before: set[int] = field(default_factory=set)
    good: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})
    made: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})
    attacks: int = 0

    @property
    def died(self) -> int:
        """Number of processes that served at the start and are gone."""
        return len(self.before - self.processes())

    def share(self, attacked: bool) -> float:
        """Share of calls that were answered."""
        return self.good[attacked] / max(1, self.made[attacked])


def bad_call(chance: random.Random) -> bytes:
    """Return the bytes of a connection with one call whose path, of about 130 bytes, is not UTF-8."""
    path = METHOD.encode()
    place = chance.randrange(1, len(path))
    return wire.call(path[:place] + chance.choice((b"\xff", b"\xc3\x28", b"\xed\xa0\x80")) + path[place:], b"")


async def attack(target: Target, data: bytes) -> None:
    """Send bytes on a new connection, and close it when the server answers or after a second."""
    host, _, port = target.address.rpartition(":")
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection(host, int(port))
            target.attacks += 1
            try:
                writer.write(data)
                while await reader.read(65536):
                    pass
            finally:
                writer.transport.abort()


async def call(target: Target, attacked: bool) -> None:
    """Make one call on a new connection, as a new client would, and count it."""
    target.made[attacked] += 1
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(target.address, options) as channel:
        rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(target.method)
        with contextlib.suppress(grpc.aio.AioRpcError):
            await rpc(target.request, timeout=DEADLINE_SECONDS)
            target.good[attacked] += 1


async def at_rate(start: Callable[[], asyncio.Task[None]], rate: float, seconds: float) -> None:
    """Start tasks at a fixed rate and wait for them."""
    tasks, begun = [], time.monotonic()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        tasks.append(start())
    await asyncio.gather(*tasks)


async def phase(target: Target, options: argparse.Namespace, chance: random.Random, *, attacked: bool) -> None:
    """Call for a while, with or without an attack at the same time."""

    def caller() -> asyncio.Task[None]:
        return asyncio.create_task(call(target, attacked))

    def attacker() -> asyncio.Task[None]:
        return asyncio.create_task(attack(target, bad_call(chance)))

    seconds = options.seconds / options.phases
    async with asyncio.TaskGroup() as group:
        group.create_task(at_rate(caller, options.calls, seconds))
        if attacked:
            group.create_task(at_rate(attacker, options.connections, seconds))


@contextmanager
def dejavu(folder: Path) -> Iterator[Target]:
    """Run a server of two workers."""
    with spawned_server("--workers", "2", "--ledger", f"sqlite:///{folder}/l.sqlite3") as server:
        yield Target("dejavu-server", server.address, METHOD, REQUEST, lambda: {each.pid for each in server.workers})


@contextmanager
def stock(_: Path) -> Iterator[Target]:
    """Run a stock grpc.aio server that answers without a model."""
    with helper("bench.echo", os.sched_getaffinity(0)) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the echo was started without pipes")
        print(file=process.stdin, flush=True)
        yield Target("stock grpc.aio", process.stdout.readline().strip(), METHOD, REQUEST, lambda: living(process))


@contextmanager
def mlserver(python: str, folder: Path) -> Iterator[Target]:
    """Run an MLServer of two workers with a model that answers at once; the caller calls its ServerLive."""
    model = "from mlserver import MLModel\nclass Echo(MLModel):\n    async def predict(self, payload): return payload\n"
    with running_mlserver(python, folder, os.sched_getaffinity(0), model, 2) as (address, process):
        # Its gRPC server runs in the main process; the workers behind it have no port.
        yield Target("MLServer", address, "/inference.GRPCInferenceService/ServerLive", b"", lambda: living(process))


def living(process: subprocess.Popen[str]) -> set[int]:
    """Return the id of a process, unless it has ended."""
    return {process.pid} if process.poll() is None else set()


def main(arguments: list[str] | None = None) -> int:
    """Attack, measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds of attack, and as many without")
    parser.add_argument("--phases", type=int, default=3, help="phases of each kind")
    parser.add_argument("--connections", type=float, default=50.0, help="bad connections a second")
    parser.add_argument("--calls", type=float, default=50.0, help="calls a second, each on a new connection")
    parser.add_argument(
        "--least", type=float, default=0.99, help="lowest accepted goodput under attack, as a share of the control's"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the paths")
    parser.add_argument("--mlserver", metavar="PYTHON", help="a Python that has MLServer installed")
    options = parser.parse_args(arguments)
    kinds: list[Callable[[Path], AbstractContextManager[Target]]] = [dejavu, stock]
    if options.mlserver:
        kinds.append(lambda folder: mlserver(options.mlserver, folder))
    failed = False
    print(f"{options.connections:g} bad connections a second for {options.seconds:g} s; seed {options.seed}")
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder, kind(Path(folder)) as target:
            target.before = target.processes()
            chance = random.Random(options.seed)
            for number in range(2 * options.phases):
                asyncio.run(phase(target, options, chance, attacked=number % 2 == 1))
            died, ratio = target.died, target.share(True) / max(target.share(False), 1e-9)
            print(
                f"{target.name:15} answered {target.share(False):7.2%} without, {target.share(True):7.2%} under "
                f"{target.attacks:,} bad connections: {ratio:.3f} ×; processes that died: {died}"
            )
            failed |= kind is dejavu and (died > 0 or ratio < options.least)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
