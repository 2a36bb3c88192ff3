"""Measures the cost of sending live events to many browsers, and the delay until the last one has them.

Run with `python -m bench.page` from the project's folder. A server with one worker, a gateway, and a process with all
browsers share the machine. Forecasts are recorded at a steady rate (`--rate` a second), each with its explanation. Then
the gateway is killed with SIGKILL while more are recorded, and started again; each browser is reset, and starts with
the newest forecast of each game: with all, as each is of another game.

Reports the time from the computation of a forecast, which is before its commit, to its arrival at the last browser; the
gateway's CPU per event that a browser received; and its memory per browser. Exits with 1 if a browser lost an event, or
received one twice or out of order.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Collection, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar

import uvloop
from bench.result import Result, program
from bench.servers import pinned_to
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game
from tests.support.processes.gateway import running_gateway, spawned_gateway
from tests.support.processes.servers import spawned_server

from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_client.transport.statistics import percentile
from dejavu_common.address import Address
from dejavu_common.processes import cpu_seconds, raise_file_limit, resident_mebibytes

RECONNECT_SECONDS = (0.05, 0.5)
SETTLE_SECONDS = 2.0
MOST_EVENT_BYTES = 1 << 20

OPTIONS = ("--max-connections", "10000", "--max-streams-per-address", "10000")
"""Options of a gateway that all browsers reach from one address."""


@dataclass
class Received:
    """Summary of the events that all browsers received.

    Attributes:
        sequences: the events, in the order in which the first browser got each.
        last: sequence → when the last browser got it, seconds since 1970.
        wrong: number of events that a browser received twice, or after missing one.
        deliveries: events received by all browsers together.
        resets: how often a browser was told to start again, with the newest forecast of each game.
    """

    sequences: list[int] = field(default_factory=list)
    last: dict[int, float] = field(default_factory=dict)
    wrong: int = 0
    deliveries: int = 0
    resets: int = 0


class Browser:
    """A browser that follows a gateway's live events, and resumes from its last id.

    Attributes:
        token: the last id.
        place: number of events that it has received.
    """

    def __init__(self, address: Address, received: Received, changed: asyncio.Event) -> None:
        self._address = address
        self._received = received
        self._changed = changed
        self.token = b""
        self.place = 0

    async def follow(self) -> None:
        """Connect, and read events; connect again whenever the connection is lost. An event ends within a chunk."""
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(*self._address, limit=MOST_EVENT_BYTES)
                resume = b"last-event-id: %b\r\n" % self.token if self.token else b""
                writer.write(b"GET /api/stream HTTP/1.1\r\nhost: localhost\r\n%b\r\n" % resume)
                while True:
                    self._take(await reader.readuntil(b"\n\n"))
            await asyncio.sleep(random.uniform(*RECONNECT_SECONDS))

    def _take(self, block: bytes) -> None:
        received = self._received
        start = block.find(b"id: ")
        if start >= 0:
            self.token = block[start + 4 :].partition(b"\n")[0]
            self._changed.set()
        if b"event: reset" in block:
            received.resets += 1
            self.place = 0  # the newest forecasts follow: all, as each is of another game
        at = block.find(b'"sequence":"')
        if at < 0 or b"event: prediction" not in block:
            return
        sequence = int(block[at + 12 :].partition(b'"')[0])
        if self.place == len(received.sequences):
            received.sequences.append(sequence)
        received.wrong += received.sequences[self.place] != sequence
        received.last[sequence] = time.time()
        received.deliveries += 1
        self.place += 1


def browse(address: str, count: int, commands: Connection) -> None:
    """Run browsers in a process: send None once each has a position, and then, for each sequence, what they received.

    Args:
        address: HOST:PORT of the gateway.
        count: number of browsers.
        commands: receives sequences; each is answered by a Received once every browser has that event.
    """
    raise_file_limit()
    uvloop.run(_browse(address, count, commands))


async def _browse(address: str, count: int, commands: Connection) -> None:
    received, changed = Received(), asyncio.Event()
    browsers = [Browser(Address.parse(address), received, changed) for _ in range(count)]
    async with asyncio.TaskGroup() as following:
        for browser in browsers:
            following.create_task(browser.follow())
        while not all(browser.token for browser in browsers):
            changed.clear()
            await changed.wait()
        commands.send(None)
        while True:
            sequence = await asyncio.to_thread(commands.recv)
            while received.sequences[-1:] < [sequence] or any(
                browser.place < len(received.sequences) for browser in browsers
            ):
                changed.clear()
                await changed.wait()
            commands.send(received)


@contextmanager
def browsers_of(address: str, count: int) -> Iterator[Connection]:
    """Run a process of browsers; yield its connection for commands once each browser has a position."""
    spawned = multiprocessing.get_context("spawn")
    ours, theirs = spawned.Pipe()
    process = spawned.Process(target=browse, args=(address, count, theirs))
    process.start()
    try:
        ours.recv()
        yield ours
    finally:
        process.kill()
        process.join()


@dataclass
class PageResult(Result):
    """Results of a run.

    Attributes:
        browsers: number of browsers.
        events: number of forecasts recorded at the steady rate.
        p50_ms, p99_ms: from the computation of a forecast to its arrival at the last browser.
        cpu_us: CPU of the gateway per event that a browser received.
        kib_connected: memory of the gateway per connected browser.
        back_seconds: from the kill until every browser had everything.
        wrong: number of events that a browser lost, or received twice or out of order.
    """

    MUST_BE_EMPTY: ClassVar = ("wrong",)
    browsers: int
    events: int
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    cpu_us: float = 0.0
    kib_connected: float = 0.0
    back_seconds: float = 0.0
    wrong: int = 0

    def judge_steady(self, made: Mapping[int, float], received: Received, cpu: float) -> None:
        """Compute delays and CPU of the events recorded at the steady rate."""
        delays = sorted(1e3 * (received.last[sequence] - at) for sequence, at in made.items())
        self.p50_ms, self.p99_ms = percentile(delays, 0.5), percentile(delays, 0.99)
        self.cpu_us = 1e6 * cpu / received.deliveries

    def judge_all(self, made: Mapping[int, float], received: Received) -> None:
        """Count the events that browsers lost, or received twice or out of order."""
        complete = received.sequences == sorted(made)
        self.wrong = received.wrong + (received.resets != self.browsers) + (not complete)


async def record(client: AsyncDejavuClient, made: dict[int, float], count: int, rate: float) -> int:
    """Record forecasts of new games at a rate per second; return the sequence of the last one.

    Args:
        client: client of the server.
        made: receives sequence → when the forecast was made, seconds since 1970.
        count: number of forecasts.
        rate: forecasts a second.
    """
    start = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
        forecast = await client.predict(
            PATTERN, game_id=game(len(made)), horizon=FINAL, home_team="BOS", away_team="LAL", timeout=30
        )
        made[forecast.sequence] = forecast.generated_time.ToDatetime(tzinfo=UTC).timestamp()
    return max(made)


async def have(browsers: Connection, sequence: int) -> Received:
    """Wait until all browsers have an event; return what they received."""
    browsers.send(sequence)
    received: Received = await asyncio.to_thread(browsers.recv)
    return received


async def measure(count: int, events: int, rate: float, folder: Path, servers: Collection[int]) -> PageResult:
    """Run the bench once.

    Args:
        count: number of browsers.
        events: number of forecasts recorded at the steady rate.
        rate: forecasts a second.
        folder: an empty folder.
        servers: CPUs to pin server and gateway to.
    """
    result = PageResult(count, events)
    made: dict[int, float] = {}
    with ExitStack() as stack:
        with pinned_to(servers):
            ledger = f"sqlite:///{folder / 'ledger.sqlite3'}"
            server = stack.enter_context(spawned_server("--workers", "1", "--ledger", ledger))
            first = stack.enter_context(running_gateway(server.address, *OPTIONS))
        address, pid = first.address, first.process.pid
        before = resident_mebibytes(pid)
        browsers = stack.enter_context(browsers_of(address, count))
        client = AsyncDejavuClient(server.address)
        await asyncio.sleep(SETTLE_SECONDS)
        result.kib_connected = 1024 * (resident_mebibytes(pid) - before) / count
        cpu = cpu_seconds(pid)
        received = await have(browsers, await record(client, made, events, rate))
        result.judge_steady(made, received, cpu_seconds(pid) - cpu)
        more = asyncio.create_task(record(client, made, events // 4, rate))
        await asyncio.sleep(events / 8 / rate)
        first.process.kill()
        killed = time.monotonic()
        with pinned_to(servers):
            stack.enter_context(spawned_gateway("--target", server.address, *OPTIONS, "--listen", address))
        received = await have(browsers, await more)
        result.back_seconds = time.monotonic() - killed
        result.judge_all(made, received)
        await client.close()
    return result


def run(options: argparse.Namespace, folder: Path) -> Coroutine[Any, Any, PageResult]:
    """Run the bench once, as the options say."""
    return measure(options.browsers, options.events, options.rate, folder, os.sched_getaffinity(0))


if __name__ == "__main__":
    sys.exit(program(__doc__, run, browsers=500, events=200, rate=5.0))
