"""Measures what the shadows of one challenger cost: latency of named calls, and CPU of the worker.

    python -m bench.lifecycle.shadow                     # callers at a rate, with and without, alternating
    python -m bench.lifecycle.shadow --rate 0            # callers that ask again at once

A server with one worker and a model store, pinned to one CPU, and the callers on another. In every round the
challenger, a variant of the shipped bundle, is unloaded and staged again; named calls, each a new game at minute 18
with both teams, are made without and with it. CPU includes all of the worker until the shadows of the round are
recorded. Compare the ratios of a run. Fails if a call fails, if p50 or CPU are above the given bounds, or if a
forecast lacks its shadow without having been counted as shed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
import psutil
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
"""Longest time until the shadows of a phase are recorded."""


class Phase(NamedTuple):
    """What was measured with or without a challenger.

    Attributes:
        p50_ms, p99_ms: of the calls, as the callers see it.
        cpu_us: CPU time of the worker, in microseconds a call.
        calls: number of calls.
        shadows: number of shadows recorded.
    """

    p50_ms: float
    p99_ms: float
    cpu_us: float
    calls: int
    shadows: int


class Load:
    """Callers of named calls, each of a new game."""

    def __init__(self, service: Any, callers: int, rate: float) -> None:
        self._service = service
        self._callers = callers
        self._pause = callers / rate if rate else 0.0
        self._game = 0

    async def run(self, seconds: float) -> list[float]:
        """Returns how long each call took, in milliseconds."""
        taken: list[float] = []
        end = time.monotonic() + seconds

        async def call(number: int) -> None:
            due = time.monotonic() + self._pause * number / self._callers
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
                await self._service.Predict(request, timeout=30.0)
                taken.append(1000 * (time.perf_counter() - began))

        await asyncio.gather(*(call(number) for number in range(self._callers)))
        return taken


def counted(url: str) -> tuple[int, int]:
    """Returns the numbers of forecasts and shadows in a ledger."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            numbers = [
                int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
                for table in ("forecasts", "shadows")
            ]
    finally:
        engine.dispose()
    return numbers[0], numbers[1]


async def measured(load: Load, seconds: float, worker: psutil.Process, url: str, *, shadowed: bool) -> Phase:
    """Makes calls and returns what they cost; with shadows, once all are recorded."""
    _, shadows = await asyncio.to_thread(counted, url)
    before = sum(worker.cpu_times()[:2])
    taken = sorted(await load.run(seconds))
    recorded = 0
    if shadowed:
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while recorded < len(taken) and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
            _, now = await asyncio.to_thread(counted, url)
            recorded = now - shadows
    cpu = sum(worker.cpu_times()[:2]) - before
    return Phase(
        statistics.median(taken), taken[round(0.99 * (len(taken) - 1))], 1e6 * cpu / len(taken), len(taken), recorded
    )


async def run(options: argparse.Namespace, folder: Path) -> list[tuple[Phase, Phase]]:
    """Returns what was measured in each round, without and with a challenger."""
    challenger = await asyncio.to_thread(publish_variant, folder / "challenger", 0.3)
    store = ModelStore.open(folder / "store")
    await asyncio.to_thread(store.put, folder / "challenger")
    url = f"sqlite:///{folder / 'ledger.sqlite3'}"
    arguments = ("--workers", "1", "--ledger", url, "--model-store", str(folder / "store"), "--gate", "off")
    rounds = []
    with spawned_server(*arguments) as server:
        address = await asyncio.to_thread(lambda: server.address)
        [worker] = server.workers
        cores = sorted(os.sched_getaffinity(0))
        worker.cpu_affinity([cores[0]])
        os.sched_setaffinity(0, {cores[-1]})
        async with grpc.aio.insecure_channel(address) as channel:
            operator = Operator([ModelServiceStub(channel)], random.Random(0))
            await operator.register((folder / "challenger" / "manifest.json").read_bytes())
            load = Load(PredictionServiceStub(channel), options.callers, options.rate)
            await load.run(1.0)
            for _ in range(options.rounds):
                alone = await measured(load, options.seconds, worker, url, shadowed=False)
                await operator.call("LoadModel", models_pb.LoadModelRequest(model_version=challenger))
                shadowed = await measured(load, options.seconds, worker, url, shadowed=True)
                await operator.call("UnloadModel", models_pb.UnloadModelRequest(model_version=challenger))
                rounds.append((alone, shadowed))
    return rounds


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the rounds and prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each phase")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--rate", type=float, default=200.0, help="calls a second of all callers; 0: at once")
    parser.add_argument("--most-p50", type=float, default=1.05)
    parser.add_argument("--most-cpu", type=float, default=1.6)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="shadow-") as folder:
        rounds = asyncio.run(run(options, Path(folder)))
    for name in ("p50_ms", "p99_ms", "cpu_us"):
        values = [[getattr(phase, name) for phase in each] for each in rounds]
        ratio = statistics.median(shadowed / alone for alone, shadowed in values)
        alone, shadowed = (statistics.median(each) for each in zip(*values, strict=True))
        print(f"{name}: {alone:.2f} alone, {shadowed:.2f} with a challenger, ratio {ratio:.3f}")
    calls, shadows = (sum(getattr(shadowed, name) for _, shadowed in rounds) for name in ("calls", "shadows"))
    print(f"{calls} calls with a challenger, {shadows} shadows")
    p50, cpu = (
        statistics.median(getattr(shadowed, name) / getattr(alone, name) for alone, shadowed in rounds)
        for name in ("p50_ms", "cpu_us")
    )
    return int(p50 > options.most_p50 or cpu > options.most_cpu or shadows < calls)


if __name__ == "__main__":
    sys.exit(main())
