"""Measures the memory of streams that ask for all current forecasts and do not read them.

Run with `python -m bench.network.unread_streams` from the project's folder. Starts a real server, records one forecast
for each of very many games through it, and opens streams over a few connections, in this order:

- control: streams without `include_current` that are not read;
- as many streams with `include_current` that are not read; while they are open, another stream reads everything;
- churn: for `--churn-seconds`, streams with `include_current` are opened, read a little, and cancelled or ended with
  their connection.

Exits with 1 if a worker's memory with the unread streams with `include_current` is more than MOST_MIB above that
before any stream, if the stream that is read does not get every game once, in order, and then a heartbeat, or if a
worker's memory at the end of the churn is more than a tenth above its highest in the first minute of churn.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from bench.result import program
from bench.servers import anonymous_mib
from bench.streams import A_CONNECTION, PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub

MOST_MIB = 100.0
"""Maximum memory that all unread streams with `include_current` of a worker may take, in MiB."""

MOST_GROWTH = 0.1
"""Maximum growth of a worker's memory after the first minute of churn, as a share."""

BATCH = 250
CHURNING = 20
"""Number of callers in the churn; each has one connection at a time, with one to three streams."""

NO_BUFFERS = (("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0))
"""A separate connection; unread data beyond HTTP/2's initial window stays on the server."""


STILL_SECONDS = 1.0
"""Memory is measured once it has not grown for this time."""


class Memory:
    """Reads the memory of a server's workers."""

    def __init__(self, server: SpawnedServer) -> None:
        self._pids = [int(entry["worker"].partition("-")[2]) for entry in server.events if entry["event"] == "serving"]

    def mib(self) -> list[float]:
        """Return each worker's anonymous memory in MiB."""
        return [round(anonymous_mib(pid), 1) for pid in self._pids]

    async def still(self) -> list[float]:
        """Return each worker's memory once it has not grown for STILL_SECONDS."""
        most, since = self.mib(), time.monotonic()
        while time.monotonic() - since < STILL_SECONDS:
            await asyncio.sleep(0.1)
            now = self.mib()
            if sum(now) > sum(most) + 0.5:
                most, since = now, time.monotonic()
        return self.mib()


@dataclass
class Result:
    """Measurements of a run. Memory is anonymous PSS in MiB, by worker.

    Attributes:
        before: before any stream.
        plain: with the streams of the control.
        unread: with the unread streams.
        read: number of forecasts that one stream read meanwhile.
        read_seconds: time that this took.
        faults: faults of these forecasts.
        churned: number of streams in the churn.
        after_a_minute: highest memory in the first minute of churn (or the first tenth, if it is shorter).
        at_the_end: memory at the end of the churn.
    """

    games: int = 0
    streams: int = 0
    before: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    unread: list[float] = field(default_factory=list)
    read: int = 0
    read_seconds: float = 0.0
    faults: list[str] = field(default_factory=list)
    churned: int = 0
    after_a_minute: list[float] = field(default_factory=list)
    at_the_end: list[float] = field(default_factory=list)

    def breaches(self) -> list[str]:
        """Describe the failed checks; empty if all pass."""
        broken = list(self.faults)
        for before, unread in zip(self.before, self.unread, strict=True):
            if unread - before > MOST_MIB:
                broken.append(f"unread streams take {unread - before:.1f} MiB of a worker, more than {MOST_MIB:g}")
        for early, late in zip(self.after_a_minute, self.at_the_end, strict=True):
            if late > early * (1.0 + MOST_GROWTH):
                broken.append(f"a worker grew from {early:.1f} to {late:.1f} MiB while streams came and went")
        return broken


async def publish(address: str, games: int) -> None:
    """Record a forecast of each game."""
    async with grpc.aio.insecure_channel(address) as channel:
        service: Any = PredictionServiceStub(channel)
        for first in range(0, games, BATCH):
            numbers = range(first, min(first + BATCH, games))
            requests = [
                pb.PredictRequest(pattern=PATTERN, game_id=game(number), horizon=HORIZON_HALFTIME) for number in numbers
            ]
            answer = await service.PredictBatch(pb.PredictBatchRequest(requests=requests), timeout=60)
            for each in answer.results:
                if not each.forecast.sequence:
                    raise RuntimeError(f"a forecast was refused: {each.error}")


@asynccontextmanager
async def unread(address: str, streams: int, *, current: bool) -> AsyncIterator[None]:
    """Open streams and read nothing from them."""
    channels = [grpc.aio.insecure_channel(address, options=NO_BUFFERS) for _ in range(0, streams, A_CONNECTION)]
    calls = [_open(channels[number % len(channels)], current=current) for number in range(streams)]
    try:
        await asyncio.gather(*(call.initial_metadata() for call in calls))
        yield
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*(channel.close() for channel in channels))


def _open(channel: grpc.aio.Channel, *, current: bool = True) -> Any:
    service: Any = PredictionServiceStub(channel)
    return service.StreamPredictions(pb.StreamPredictionsRequest(include_current=current))


async def _read(call: Any) -> pb.StreamPredictionsResponse:
    """Return the next message of a stream.

    Raises:
        RuntimeError: if the server ended it.
        AioRpcError: if it ended it with an error.
    """
    message = await call.read()
    if not isinstance(message, pb.StreamPredictionsResponse):  # the end of the stream
        raise RuntimeError("the server ended a stream")
    return message


async def read_all(address: str, result: Result) -> None:
    """Read all current forecasts and check them."""
    start = time.monotonic()
    sequences: list[int] = []
    async with grpc.aio.insecure_channel(address, options=NO_BUFFERS) as channel:
        call = _open(channel)
        while (message := await _read(call)).HasField("forecast"):
            sequences.append(message.forecast.sequence)
        call.cancel()
    result.read, result.read_seconds = len(sequences), round(time.monotonic() - start, 1)
    if sequences != list(range(1, result.games + 1)):
        result.faults.append(f"{len(sequences)} of {result.games} current forecasts, or not in order")


async def churn(address: str, seconds: float, memory: Memory, result: Result, rng: random.Random) -> None:
    """Open streams, read a little and close them, a third of them with their connection."""
    start = time.monotonic()
    early = min(60.0, seconds / 10)

    async def visit() -> None:
        while time.monotonic() - start < seconds:
            async with grpc.aio.insecure_channel(address, options=NO_BUFFERS) as channel:
                for _ in range(rng.randrange(1, 4)):
                    call = _open(channel)
                    for _ in range(rng.randrange(0, 60)):
                        await _read(call)
                    if rng.random() < 2 / 3:
                        call.cancel()
                    result.churned += 1

    visiting = asyncio.gather(*(visit() for _ in range(CHURNING)))
    while not visiting.done():
        await asyncio.wait([visiting], timeout=0.5)
        now = memory.mib()
        if time.monotonic() - start <= early or not result.after_a_minute:
            result.after_a_minute = [max(pair) for pair in zip(now, result.after_a_minute or now, strict=True)]
    await visiting
    result.at_the_end = memory.mib()


async def run(options: argparse.Namespace, folder: Path) -> Result:
    """Run the whole scenario."""
    with spawned_server("--workers", "2", "--ledger", f"sqlite:///{folder / 'ledger.sqlite3'}") as server:
        await asyncio.to_thread(server.wait_for, "listening")
        return await run_on(server, options)


async def run_on(server: SpawnedServer, options: argparse.Namespace) -> Result:
    """Run the whole scenario on a server."""
    result = Result(games=options.games, streams=options.streams)
    memory = Memory(server)
    await publish(server.address, options.games)
    result.before = await memory.still()
    async with unread(server.address, options.streams, current=False):
        result.plain = await memory.still()
    async with unread(server.address, options.streams, current=True):
        result.unread = await memory.still()
        await read_all(server.address, result)
    await churn(server.address, options.churn_seconds, memory, result, random.Random(options.seed))
    return result


def report(result: Result, _: float) -> str:
    """Format the result for people."""
    return "\n".join(
        [
            f"PSS of each worker in MiB, with current forecasts of {result.games:,} games",
            f"  before                            {_row(result.before)}",
            f"  {result.streams:>5,} streams that start now, unread {_row(result.plain)}",
            f"  {result.streams:>5,} of all current ones, unread     {_row(result.unread)}",
            f"  first minute of churn             {_row(result.after_a_minute)}",
            f"  its end, after {result.churned:>7,} streams     {_row(result.at_the_end)}",
            f"one that read all meanwhile: {result.read:,} forecasts in {result.read_seconds:g} s",
        ]
    )


def _row(values: Sequence[float]) -> str:
    return " ".join(f"{value:>8.1f}" for value in values)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this program."""
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--games", type=int, default=24_000)
    parser.add_argument("--churn-seconds", type=float, default=600.0)


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> int:
    """Run the program; return the exit code."""
    return program(arguments, show, description=__doc__, run=run, report=report, add_options=add_options)


if __name__ == "__main__":
    sys.exit(main())
