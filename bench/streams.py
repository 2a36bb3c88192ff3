"""Stress-tests streams with subscribers that disconnect, stall, are killed and resume: checks for losses and leaks.

Run with `python -m bench.streams` from the project's folder. Starts a real server with two workers and publishes
forecasts during the whole run, which consists of two equal halves:

- witnesses read from start to end. Publishing waits for them, because they share a process with the publisher and would
  otherwise be cut off as too slow;
- waves of subscribers connect, read some forecasts and leave: a third cancels, a third closes its connections, and a
  third is a process that is killed;
- stalled subscribers read nothing until the end of the half; the server cuts them off if their queue is full, and they
  resume;
- at the end of the half, one subscriber resumes from the very first token, as it would after hours, while more is
  published.

Each must receive every forecast from its first to its last, once and in the ledger's order. After all have left, the
workers must have as many open descriptors and calls in flight as before the first wave, except for descriptors that a
worker opens once, and as much memory as after the first half, within a margin. Exits with 1 if a check fails.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

import grpc
import psutil
from bench.result import Result, program
from bench.servers import anonymous_mib
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.harness.waiting import until
from tests.support.processes.scrapes import scrape, value_in
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub

STREAM_METHOD = "/dejavu.v1.PredictionService/StreamPredictions"
_SPAWNED = multiprocessing.get_context("spawn")

BATCH = 20
"""Forecasts published per call."""

A_CONNECTION = 25
"""Subscribers that share a connection."""

AHEAD = 500
"""Forecasts that publishing may be ahead of a witness: a quarter of what the server queues for a subscriber."""

READ = 20
"""Forecasts that a subscriber of a wave reads before it leaves."""

SETTLE_SECONDS, WAVE_SECONDS = 30.0, 120.0
"""Time for a server and its witnesses to catch up, and for the subscribers of a wave to read enough."""

MORE_DESCRIPTORS = 24
"""Allowance for the ledger connections that two workers open on first use; each takes two descriptors."""


MORE_MIB = 24.0
"""Allowed growth of memory after the first half."""


@dataclass
class StreamsResult(Result):
    """Counts and measurements of a run."""

    MUST_BE_EMPTY: ClassVar[tuple[str, ...]] = ("lost", "twice", "out_of_order", "in_flight")

    subscribers: int = 0
    killed: int = 0
    messages: int = 0
    published: int = 0
    lost: int = 0
    twice: int = 0
    out_of_order: int = 0
    stalled: int = 0
    cut_off: int = 0
    resumed_over: int = 0
    pss_mib: list[float] = field(default_factory=list)
    """Memory of all workers: before the first wave, after the first half, after the last."""
    descriptors: list[int] = field(default_factory=list)
    """Open descriptors of all workers: before the first wave, after the last."""
    in_flight: float = 0.0

    def breaches(self) -> list[str]:
        """Return the names of the failed checks."""
        broken = super().breaches()
        if self.cut_off < 2 * self.stalled:  # in both halves
            broken.append("cut_off")
        if self.descriptors[-1] > self.descriptors[0] + MORE_DESCRIPTORS:
            broken.append("descriptors")
        if self.pss_mib[-1] - self.pss_mib[1] > MORE_MIB:
            broken.append("pss_mib")
        return broken


class Reader:
    """A subscriber and the sequences it received."""

    def __init__(self, channel: grpc.aio.Channel, token: str = "") -> None:
        self._service: Any = PredictionServiceStub(channel)
        self.token = token
        self.sequences: list[int] = []
        self.call: Any = None

    @property
    def newest(self) -> int:
        """The newest sequence that it received; 0 before the first."""
        return self.sequences[-1] if self.sequences else 0

    async def open(self) -> None:
        """Subscribe and wait for the first message, after which nothing is missed."""
        self.call = self._service.StreamPredictions(pb.StreamPredictionsRequest(resume_token=self.token))
        self._take(await self.call.read())

    async def read(self, *, up_to: int = 0, count: int = 0) -> None:
        """Read until the sequence `up_to`, or `count` forecasts, were received."""
        while not (self.newest >= up_to > 0 or len(self.sequences) >= count > 0):
            message = await self.call.read()
            if message is grpc.aio.EOF:
                raise RuntimeError("a stream ended without an error")
            self._take(message)

    def _take(self, message: pb.StreamPredictionsResponse) -> None:
        self.token = message.resume_token
        if message.HasField("forecast"):
            self.sequences.append(message.forecast.sequence)


class Bench:
    """A run against one server."""

    def __init__(self, server: SpawnedServer, result: StreamsResult) -> None:
        self.server = server
        self.result = result
        self.witnesses: list[Reader] = []

    async def witnessed(self, ahead: int = 0) -> None:
        """Wait until no witness is more than `ahead` forecasts behind."""
        newest = self.result.published - ahead
        await until(lambda: all(reader.newest >= newest for reader in self.witnesses), SETTLE_SECONDS)

    async def publish(self, count: int) -> None:
        """Publish forecasts of `count` new games."""
        async with self.connection() as channel:
            service: Any = PredictionServiceStub(channel)
            for _ in range(0, count, BATCH):
                first = self.result.published
                requests = [
                    pb.PredictRequest(pattern=PATTERN, game_id=game(first + each), horizon=HORIZON_HALFTIME)
                    for each in range(BATCH)
                ]
                answer = await service.PredictBatch(pb.PredictBatchRequest(requests=requests), timeout=60)
                sequences = [each.forecast.sequence for each in answer.results]
                if sequences != list(range(first + 1, first + BATCH + 1)):
                    raise RuntimeError(f"published as {sequences}")
                self.result.published += BATCH
                await self.witnessed(AHEAD)

    async def publish_until(self, done: asyncio.Future[Any]) -> None:
        """Publish until a future is done."""
        while not done.done():
            await self.publish(BATCH)

    @asynccontextmanager
    async def connection(self, *, buffers: bool = True) -> AsyncIterator[grpc.aio.Channel]:
        """Open a new connection; the kernel picks the worker. Without buffers, unread data stays on the server."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        if not buffers:
            options += [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_535)]
        async with grpc.aio.insecure_channel(self.server.address, options=options) as channel:
            yield channel

    async def wave(self, size: int) -> None:
        """Run subscribers that connect together, read a little and leave, each third in its own way."""
        ready, done = multiprocessing.Pipe(duplex=False)
        child = _SPAWNED.Process(target=subscribe, args=(self.server.address, size // 3, done))
        child.start()
        going = asyncio.gather(
            self._visit(size - 2 * (size // 3), cancel=True),
            self._visit(size // 3, cancel=False),
            asyncio.to_thread(ready.poll, WAVE_SECONDS),  # all its readers have read enough
        )
        await self.publish_until(going)
        *_, killable = await going
        if not killable or child.exitcode is not None:
            raise RuntimeError(f"the subscriber process ended with code {child.exitcode}, or read too little")
        child.kill()
        child.join()
        self.result.subscribers += size // 3
        self.result.killed += size // 3

    async def _visit(self, size: int, *, cancel: bool) -> None:
        starts = range(0, size, A_CONNECTION)
        await asyncio.gather(*(self._share(min(A_CONNECTION, size - start), cancel=cancel) for start in starts))

    async def _share(self, size: int, *, cancel: bool) -> None:
        """Run subscribers on one connection."""
        async with self.connection() as channel:
            readers = [Reader(channel) for _ in range(size)]
            await asyncio.gather(*(reader.open() for reader in readers))
            await asyncio.gather(*(reader.read(count=READ) for reader in readers))
            for reader in readers:
                if cancel:
                    reader.call.cancel()
                self.judge(reader)

    async def half(self, options: argparse.Namespace, waves: int, late: Reader, oldest: int) -> None:
        """Run waves while others stall; then the stalled subscribers read again, and another one resumes.

        Args:
            options: the options of the program.
            waves: number of waves.
            late: the subscriber that resumes from its token.
            oldest: the first sequence that it must receive.
        """
        result, before = self.result, self.result.published
        async with self.connection(buffers=False) as idle:
            stalled = [Reader(idle) for _ in range(options.stalled)]
            await asyncio.gather(*(reader.open() for reader in stalled))
            first = result.published + 1
            for _ in range(waves):
                await self.wave(options.subscribers // options.waves)
            await self.publish(max(0, before + options.forecasts // 2 - result.published))

            await asyncio.gather(late.open(), self.publish(5 * BATCH))
            await late.read(up_to=result.published)
            late.call.cancel()
            self.judge(late, first=oldest, last=result.published)
            result.resumed_over = len(late.sequences)
            for reader in stalled:
                await wake(reader, result)
                self.judge(reader, first=first, last=result.published)

    def judge(self, reader: Reader, *, first: int = 0, last: int = 0) -> None:
        """Compare what a reader received with the ledger, whose sequences here are 1, 2, 3 and so on."""
        got = reader.sequences
        expected = range(first or got[0], (last or got[-1]) + 1)
        result = self.result
        result.subscribers += 1
        result.messages += len(got)
        result.lost += len(set(expected) - set(got))
        result.twice += len(got) - len(set(got))
        result.out_of_order += sum(later < earlier for earlier, later in pairwise(got))

    def measure(self) -> tuple[float, int]:
        """Return memory in MiB and open descriptors of all workers."""
        pids = [int(entry["worker"].partition("-")[2]) for entry in self.server.events if entry["event"] == "serving"]
        workers = [psutil.Process(pid) for pid in pids]
        memory = sum(anonymous_mib(worker.pid) for worker in workers)
        return round(memory, 1), sum(int(worker.num_fds()) for worker in workers)

    def in_flight(self) -> float:
        """Return the number of open streams in the workers' metrics."""
        return value_in(scrape(self.server), "dejavu_calls_in_flight", method=STREAM_METHOD)


async def run(options: argparse.Namespace, folder: Path) -> StreamsResult:
    """Run the whole scenario."""
    arguments = ("--workers", "2", "--ledger", f"sqlite:///{folder / 'ledger.sqlite3'}")
    with spawned_server(*arguments, "--metrics-listen", "127.0.0.1:0", standby=True) as server:
        return await run_on(server, options)


async def run_on(server: SpawnedServer, options: argparse.Namespace) -> StreamsResult:
    """Run the whole scenario on a server."""
    result = StreamsResult(stalled=options.stalled)
    bench = Bench(server, result)
    await bench.publish(BATCH)
    memory, descriptors = bench.measure()
    result.pss_mib.append(memory)
    result.descriptors.append(descriptors)
    async with bench.connection() as steady, bench.connection() as other, asyncio.TaskGroup() as reading:
        witnesses = [Reader(channel) for channel in (steady, other) for _ in range(2)]
        await asyncio.gather(*(reader.open() for reader in witnesses))
        oldest, first = witnesses[0].token, result.published + 1
        tasks = [reading.create_task(reader.read(up_to=2**62)) for reader in witnesses]
        bench.witnesses = witnesses
        await bench.half(options, options.waves // 2, Reader(steady, oldest), first)
        result.pss_mib.append(bench.measure()[0])
        await bench.half(options, options.waves - options.waves // 2, Reader(steady, oldest), first)
        await bench.witnessed()
        for task in tasks:
            task.cancel()
    for reader in witnesses:
        bench.judge(reader, first=first, last=result.published)
    with suppress(TimeoutError):  # the server releases closed streams
        await until(
            lambda: bench.measure()[1] <= descriptors + MORE_DESCRIPTORS and not bench.in_flight(), SETTLE_SECONDS
        )
    memory, descriptors = bench.measure()
    result.pss_mib.append(memory)
    result.descriptors.append(descriptors)
    result.in_flight = bench.in_flight()
    return result


async def wake(reader: Reader, result: StreamsResult) -> None:
    """Let a stalled subscriber read again, and resume if it was cut off."""
    try:
        await reader.read(up_to=result.published)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        result.cut_off += 1
        await reader.open()
        await reader.read(up_to=result.published)


def subscribe(address: str, size: int, done: Connection) -> None:
    """Run a part of a wave in a process that is killed."""
    asyncio.run(_subscribe(address, size, done))


async def _subscribe(address: str, size: int, done: Connection) -> None:
    channels = [grpc.aio.insecure_channel(address) for _ in range(0, size, A_CONNECTION)]
    readers = [Reader(channels[number // A_CONNECTION]) for number in range(size)]
    await asyncio.gather(*(reader.open() for reader in readers))
    await asyncio.gather(*(reader.read(count=READ) for reader in readers))
    done.send(None)
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(program(__doc__, run, subscribers=1000, waves=5, stalled=10, forecasts=6000))
