"""Measures the cost of sending live events to many browsers, and the delay until the last one has them.

Run with `python -m bench.page` from the project's folder. A server with one worker, a gateway, and a process with all
browsers share the machine. Forecasts are recorded at a steady rate, each with its explanation. Then the gateway is
killed with SIGKILL while more are recorded, and started again; each browser is reset, and starts with the newest
forecast of each game: with all, as each is of another game.

Reports the time from the computation of a forecast, which is before its commit, to its arrival at the last browser; the
gateway's CPU per event that a browser received; and its memory per browser. Exits with 1 if a browser lost an event, or
received one twice or out of order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

from bench.page.browsers import Received
from bench.result import program
from tests.support.builders.issued_forecasts import game
from tests.support.processes.gateway import spawned_gateway
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_client.transport.statistics import percentile
from dejavu_common.processes import cpu_seconds, resident_mebibytes
from dejavu_gateway.live.event_log import LiveEvent

PATTERN = (0, 2, 4, 3, 5, 7, 6, 4, 4, 6, 8, 9, 11, 10, 8, 7, 9, 11)
SETTLE_SECONDS = 2.0
MOST_POINTS = 300
"""Largest score of a state."""


@dataclass
class PageResult:
    """Results of a run.

    Attributes:
        browsers: number of browsers.
        events: number of forecasts recorded at the steady rate.
        event_bytes: bytes of one of them on the wire.
        p50_ms, p99_ms, max_ms: from the computation of a forecast to its arrival at the last browser.
        state_p50_ms, state_p99_ms: from the call that publishes the state of a game to its arrival at the last browser.
        cpu_us: CPU of the gateway per event that a browser received.
        kib_connected: memory of the gateway per connected browser.
        kib_served: the same after all events, including the events kept for browsers that resume.
        log_mib: bytes of the events that are kept.
        killed_events: number of forecasts recorded around the kill.
        back_seconds: from the kill until every browser had everything.
        wrong: number of events that a browser lost, or received twice or out of order.
    """

    browsers: int
    events: int
    event_bytes: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    state_p50_ms: float = 0.0
    state_p99_ms: float = 0.0
    cpu_us: float = 0.0
    kib_connected: float = 0.0
    kib_served: float = 0.0
    log_mib: float = 0.0
    killed_events: int = 0
    back_seconds: float = 0.0
    wrong: int = 0

    def breaches(self) -> list[str]:
        """Return the names of the failed checks."""
        return ["wrong"] if self.wrong else []


class Crowd:
    """A process of browsers."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    async def line(self, command: str = "") -> str:
        """Send a command; return the next line that the process prints."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if command:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        return await asyncio.to_thread(self._process.stdout.readline)

    async def report(self) -> Received:
        """Return what the browsers received."""
        return Received.of(json.loads(await self.line("report")))


@contextmanager
def crowd_of(address: str, count: int) -> Iterator[Crowd]:
    """Run a process of browsers."""
    command = [sys.executable, "-m", "bench.page.browsers", address, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Crowd(process)
        finally:
            process.kill()


class Recording:
    """Records forecasts of new games, and publishes a state of a game with each.

    Attributes:
        made: sequence → when the forecast was made, seconds since 1970.
        published: points of the home team in a state → when it was published, seconds since 1970.
    """

    def __init__(self, client: AsyncDejavuClient) -> None:
        self._client = client
        self.made: dict[int, float] = {}
        self.published: dict[int, float] = {}

    async def run(self, count: int, rate: float) -> int:
        """Record forecasts at a rate per second; return the sequence of the last one."""
        start = time.monotonic()
        for number in range(count):
            await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))
            forecast = await self._client.predict(
                PATTERN, game_id=game(len(self.made)), horizon=FINAL, home_team="BOS", away_team="LAL", timeout=30
            )
            points = 1 + len(self.made)
            if points <= MOST_POINTS:
                self.published[points] = time.time()
                await self._client.publish_games([_state(points)])
            self.made[forecast.sequence] = forecast.generated_time.ToDatetime(tzinfo=UTC).timestamp()
        return max(self.made)


def _state(points: int) -> Game:
    state = Game(game_id=game(0), home_team="BOS", away_team="LAL", status=GameStatus.GAME_STATUS_LIVE, period=1)
    state.home_score = points
    state.observed_time.GetCurrentTime()
    return state


def gateway_options(target: str) -> tuple[str, ...]:
    """Return the options of a gateway that all browsers reach from one address."""
    limits = ("--max-connections", "--max-streams-per-address")
    return ("--target", target, *(word for limit in limits for word in (limit, "10000")))


async def ready(gateway: SpawnedServer) -> str:
    """Wait until a gateway follows its server; return its address."""
    await asyncio.to_thread(gateway.wait_for, "status_changed", lambda entry: entry["reason"] == "OK")
    return str(gateway.wait_for("listening")["address"])


def pin(server: SpawnedServer, cpus: Collection[int]) -> None:
    """Pin a server that has just been started; its later processes and threads inherit that."""
    if cpus:
        os.sched_setaffinity(server.process.pid, cpus)


async def measure(browsers: int, events: int, rate: float, folder: Path, servers: Collection[int] = ()) -> PageResult:
    """Run the bench once.

    Args:
        browsers: number of browsers.
        events: number of forecasts recorded at the steady rate.
        rate: forecasts a second.
        folder: an empty folder.
        servers: CPUs to pin server and gateway to; empty: those of this process.
    """
    result = PageResult(browsers, events)
    ledger = f"sqlite:///{folder / 'ledger.sqlite3'}"
    with spawned_server("--workers", "1", "--ledger", ledger) as server:
        pin(server, servers)
        async with AsyncDejavuClient(server.address) as client:
            recording = Recording(client)
            with spawned_gateway(*gateway_options(server.address)) as first:
                pin(first, servers)
                address = await ready(first)
                pid = first.process.pid
                before = resident_mebibytes(pid)
                with crowd_of(address, browsers) as crowd:
                    await crowd.line()
                    await asyncio.sleep(SETTLE_SECONDS)
                    result.kib_connected = 1024 * (resident_mebibytes(pid) - before) / browsers
                    cpu = cpu_seconds(pid)
                    await crowd.line(f"until {await recording.run(events, rate)}")
                    cpu = cpu_seconds(pid) - cpu
                    result.kib_served = 1024 * (resident_mebibytes(pid) - before) / browsers
                    received = await crowd.report()
                    judge_steady(result, recording, received, cpu)
                    result.event_bytes = await _event_bytes(client)
                    result.log_mib = events * result.event_bytes / 1024**2
                    more = asyncio.create_task(recording.run(events // 4, rate))
                    await asyncio.sleep(events / 8 / rate)
                    first.process.kill()
                    killed = time.monotonic()
                    with spawned_gateway(*gateway_options(server.address), "--listen", address) as second:
                        pin(second, servers)
                        await crowd.line(f"until {await more}")
                        result.back_seconds = time.monotonic() - killed
                        judge_all(result, recording, await crowd.report())
                        result.killed_events = events // 4
    return result


async def _event_bytes(client: AsyncDejavuClient) -> int:
    async for event in client.stream_predictions(include_current=True):
        return len(LiveEvent.of(event).message.sse)
    return 0


def judge_steady(result: PageResult, recording: Recording, received: Received, cpu: float) -> None:
    """Compute delays and CPU of the events recorded at the steady rate."""
    delays = sorted(1e3 * (received.last[sequence] - made) for sequence, made in recording.made.items())
    result.p50_ms, result.p99_ms, result.max_ms = percentile(delays, 0.5), percentile(delays, 0.99), delays[-1]
    states = sorted(
        1e3 * (received.states[points] - at) for points, at in recording.published.items() if points in received.states
    )
    result.state_p50_ms, result.state_p99_ms = percentile(states, 0.5), percentile(states, 0.99)
    result.cpu_us = 1e6 * cpu / received.deliveries


def judge_all(result: PageResult, recording: Recording, received: Received) -> None:
    """Count the events that browsers lost, or received twice or out of order."""
    complete = received.sequences == sorted(recording.made)
    result.wrong = received.wrong + (received.resets != result.browsers) + (not complete)


def run(options: argparse.Namespace, folder: Path) -> Coroutine[Any, Any, PageResult]:
    """Run the bench once, as the options say."""
    return measure(options.browsers, options.events, options.rate, folder)


def report(result: PageResult, _: float) -> str:
    """Format the result for people."""
    return "\n".join(f"{name:16} {value:,.1f}" for name, value in asdict(result).items())


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this program."""
    parser.add_argument("--browsers", type=int, default=500)
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--rate", type=float, default=5.0, help="forecasts a second")


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> int:
    """Run the bench; return the exit code."""
    return program(arguments, show, description=__doc__, run=run, report=report, add_options=add_options)
