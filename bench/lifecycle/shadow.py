"""Measures the cost of the shadows of one challenger: latency of named calls, and CPU of the worker.

    python -m bench.lifecycle.shadow                     # callers at a fixed rate
    python -m bench.lifecycle.shadow --rate 0            # callers in a closed loop

Two servers, each with one worker and a model store, are pinned to one CPU, and the callers to another. One server has a
challenger, a variant of the shipped bundle. Blocks of named calls, each for a new game at minute 18 with both teams, go
to the servers in the order A B B A, so that other work on the machine affects both equally; after half of the blocks
the servers change roles, so that differences between the two processes cancel. Each pair of neighbouring blocks gives a
ratio. Prints the median of the ratios, with an interval that contains it in 95 % of runs whatever their distribution
(order statistics). CPU is that of the worker until the shadows of a block are recorded; calls in the first half second
of a block, in which no shadow is computed yet, do not count for the latency.

Fails if a call fails, if the ratio of p50 or of CPU is above the given bound, or if a forecast lacks its shadow.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
from bench.promotions.run import Operator
from sqlalchemy import create_engine, text
from tests.support.builders.bundles import publish_variant
from tests.support.processes.servers import spawned_server

from dejavu.v1 import model_service_pb2 as models_pb
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.model_service_pb2_grpc import ModelServiceStub
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_models.registry.store.store import ModelStore

CATCH_UP_SECONDS: Final = 60.0
"""Longest time until the shadows of a block are recorded."""

WARM_UP_SECONDS: Final = 0.5
"""Time at the start of a block in which latencies do not count: the shadows of a block begin a quarter second later."""


class Block(NamedTuple):
    """Measurements of a block of calls.

    Attributes:
        p50_ms, p99_ms: latency of the calls, as the callers see it.
        cpu_us: CPU time of the worker, in microseconds per call.
        calls: number of calls.
        shadows: number of shadows recorded.
    """

    p50_ms: float
    p99_ms: float
    cpu_us: float
    calls: int
    shadows: int


@dataclass
class Side:
    """A server under test.

    Attributes:
        service: stub of its predictions.
        operator: changes its models.
        worker: process id of its worker.
        url: its ledger.
        shadowed: whether it has a challenger at present.
    """

    service: Any
    operator: Operator
    worker: int
    url: str
    shadowed: bool = False

    def cpu_seconds(self) -> float:
        """Return the CPU time of the worker, by its own clock, to the nanosecond."""
        return time.clock_gettime((~self.worker << 3) | 2)

    def shadows(self) -> int:
        """Return the number of shadows in its ledger."""
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                return int(connection.execute(text("SELECT count(*) FROM shadows")).scalar_one())
        finally:
            engine.dispose()

    async def set_challenger(self, version: str, *, staged: bool) -> None:
        """Stage the challenger, or unload it."""
        name, kind = (
            ("LoadModel", models_pb.LoadModelRequest) if staged else ("UnloadModel", models_pb.UnloadModelRequest)
        )
        await self.operator.call(name, kind(model_version=version))
        self.shadowed = staged


class Load:
    """Callers of named calls, each of a new game."""

    def __init__(self, callers: int, rate: float) -> None:
        self._callers = callers
        self._pause = callers / rate if rate else 0.0
        self._game = 0

    async def run(self, service: Any, seconds: float) -> list[tuple[float, float]]:
        """Return the start of each call, in seconds from the beginning, and its duration in milliseconds."""
        taken: list[tuple[float, float]] = []
        start = time.monotonic()
        end = start + seconds

        async def call(number: int) -> None:
            due = start + self._pause * number / self._callers
            while (now := time.monotonic()) < end:
                if due > now:
                    await asyncio.sleep(due - now)
                due = max(due + self._pause, now) if self._pause else now
                self._game += 1
                pattern = [float((self._game * (slot + 3)) % 21 - 10) for slot in range(18)]
                request = pb.PredictRequest(
                    pattern=pattern, game_id=f"99{self._game:08d}", home_team="BOS", away_team="LAL"
                )
                began = time.perf_counter()
                await service.Predict(request, timeout=30.0)
                taken.append((now - start, 1000 * (time.perf_counter() - began)))

        await asyncio.gather(*(call(number) for number in range(self._callers)))
        return taken


async def measured(load: Load, seconds: float, side: Side) -> Block:
    """Make calls and return their cost; with a challenger, once all shadows are recorded."""
    before, cpu = await asyncio.to_thread(side.shadows), side.cpu_seconds()
    taken = await load.run(side.service, seconds)
    recorded, deadline = 0, time.monotonic() + CATCH_UP_SECONDS
    while side.shadowed and recorded < len(taken) and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        recorded = await asyncio.to_thread(side.shadows) - before
    cpu = side.cpu_seconds() - cpu
    late = [milliseconds for began, milliseconds in taken if began >= WARM_UP_SECONDS]
    counted = sorted(late or [milliseconds for _, milliseconds in taken])  # all, if the machine stood still
    p99 = counted[round(0.99 * (len(counted) - 1))]
    return Block(statistics.median(counted), p99, 1e6 * cpu / len(taken), len(taken), recorded)


async def started(stack: AsyncExitStack, folder: Path, manifest: bytes) -> Side:
    """Start a server with a store that has the challenger, and register it."""
    store = ModelStore.open(folder / "store")
    await asyncio.to_thread(store.put, folder.parent / "challenger")
    url = f"sqlite:///{folder / 'ledger.sqlite3'}"
    arguments = ("--workers", "1", "--ledger", url, "--model-store", str(folder / "store"))
    server = stack.enter_context(spawned_server(*arguments))
    address = await asyncio.to_thread(lambda: server.address)
    [worker] = server.workers
    worker.cpu_affinity([min(os.sched_getaffinity(0))])
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
    operator = Operator([ModelServiceStub(channel)], random.Random(0))
    await operator.register(manifest)
    return Side(PredictionServiceStub(channel), operator, worker.pid, url)


async def run(options: argparse.Namespace, folder: Path) -> list[tuple[Block, Block]]:
    """Return the measurements of each pair of blocks, without and with a challenger."""
    challenger = await asyncio.to_thread(publish_variant, folder / "challenger", 0.3)
    manifest = (folder / "challenger" / "manifest.json").read_bytes()
    pairs = []
    async with AsyncExitStack() as stack:
        sides = []
        for name in ("one", "other"):
            (folder / name).mkdir()
            sides.append(await started(stack, folder / name, manifest))
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        load = Load(options.callers, options.rate)
        for alone, shadowed in (sides, sides[::-1]):
            await shadowed.set_challenger(challenger, staged=True)
            for side in sides:
                await measured(load, 1.0, side)
            for number in range(options.pairs // 2):
                order = (alone, shadowed) if number % 2 == 0 else (shadowed, alone)
                first, second = [await measured(load, options.seconds, side) for side in order]
                pairs.append((first, second) if order[0] is alone else (second, first))
            await shadowed.set_challenger(challenger, staged=False)
    return pairs


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the interval between two order statistics that contains the median in about 95 % of samples."""
    ordered, count = sorted(values), len(values)
    below, left_out = 0.0, 0
    while (below := below + math.comb(count, left_out) / 2.0**count) <= 0.025:
        left_out += 1
    left_out = max(left_out - 1, 0)
    return ordered[left_out], ordered[-1 - left_out]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the blocks and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40, help="pairs of blocks, without and with a challenger")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a block")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--rate", type=float, default=200.0, help="calls a second of all callers; 0: closed loop")
    parser.add_argument("--most-p50", type=float, default=1.05)
    parser.add_argument("--most-cpu", type=float, default=1.6)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="shadow-") as folder:
        pairs = asyncio.run(run(options, Path(folder)))
    medians = {}
    for name in ("p50_ms", "p99_ms", "cpu_us"):
        ratios = [getattr(shadowed, name) / getattr(alone, name) for alone, shadowed in pairs]
        medians[name] = statistics.median(ratios)
        alone, shadowed = (statistics.median(getattr(pair[side], name) for pair in pairs) for side in (0, 1))
        low, high = interval(ratios)
        print(
            f"{name}: {alone:.2f} alone, {shadowed:.2f} with a challenger, ratio {medians[name]:.3f}"
            f" ({low:.3f} to {high:.3f}), pairs from {min(ratios):.3f} to {max(ratios):.3f}"
        )
    calls, shadows = (sum(getattr(shadowed, name) for _, shadowed in pairs) for name in ("calls", "shadows"))
    print(f"{calls} calls with a challenger, {shadows} shadows, {len(pairs)} pairs of blocks")
    return int(medians["p50_ms"] > options.most_p50 or medians["cpu_us"] > options.most_cpu or shadows < calls)


if __name__ == "__main__":
    sys.exit(main())
