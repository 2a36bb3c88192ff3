"""Measures calls of both clients while one of two workers is stopped (SIGSTOP): TCP accepts data, but nothing answers.

Run with `python -m bench.stopped_worker` from the project's folder. For each client, some callers call a real
server with two workers: a what-if, then the same named call twice. After a period without faults, the control, one
worker is stopped between two transactions, and continued later. Checks:

- Fewer than 2 % of the calls fail while the worker is stopped, and none before. Their deadline is the client's default.
- A repeated named call returns the stored forecast, whichever worker answers.

With `--writing` the worker is stopped in a transaction: it keeps SQLite's only write lock, so no worker records
anything until the supervisor has killed it. Then the first check applies only to what-ifs, and named calls have to
succeed again before the time at which the worker would be continued.

Exits with 1 if a check fails.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from bench.result import Result, program
from tests.support.harness.clients import CLIENTS, AnyClient
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu_client import HALFTIME, Forecast
from dejavu_client.errors import DejavuClientError

THINKING_SECONDS = 0.02
"""Mean pause of a caller after each turn; limits the load."""


@dataclass
class Phase:
    """The calls of one period.

    Attributes:
        calls: number of calls.
        errors: number of failed calls, by type.
        p50, p99, longest: seconds until calls were answered or had failed.
    """

    calls: int
    errors: dict[str, int]
    p50: float
    p99: float
    longest: float

    @property
    def failed(self) -> float:
        """Share of failed calls."""
        return sum(self.errors.values()) / self.calls


@dataclass(frozen=True)
class Call:
    """A call: when it was made, when it ended, the type of its error, if any, and whether it named a game."""

    start: float
    end: float
    error: str
    named: bool = False


class Callers:
    """Concurrent callers that share a client: in each turn, a caller makes a what-if, then the same named call twice.

    Args:
        client: the client.
        seed: seed of the patterns and of the pauses.

    Attributes:
        calls: the calls that have ended.
        changed: number of repeated named calls that returned a different forecast.
        stop: ends every caller after its current calls.
    """

    def __init__(self, client: AnyClient, seed: str) -> None:
        self._client = client
        self._seed = seed
        self.calls: list[Call] = []
        self.changed = 0
        self.stop = asyncio.Event()

    async def run(self, number: int) -> None:
        """Call until stopped: a what-if, then a named game, twice."""
        choose = random.Random(f"{self._seed}-{number}")
        games = 0
        while not self.stop.is_set():
            pattern = [float(choose.randint(-20, 20)) for _ in range(18)]
            await self._call(pattern, "")
            games += 1
            game_id = f"99{number:03d}{games:05d}"
            first, again = await self._call(pattern, game_id), await self._call(pattern, game_id)
            self.changed += first is not None and again is not None and first != again
            await asyncio.sleep(THINKING_SECONDS * 2 * choose.random())

    async def _call(self, pattern: Sequence[float], game_id: str) -> int | None:
        start, error = time.monotonic(), ""
        try:
            forecast: Forecast = await self._client.call("predict", pattern, horizon=HALFTIME, game_id=game_id)
            return forecast.sequence
        except DejavuClientError as failure:
            error = type(failure).__name__
            return None
        finally:
            self.calls.append(Call(start, time.monotonic(), error, bool(game_id)))


def phase_of(calls: Sequence[Call]) -> Phase:
    """Summarize calls, of which there is at least one."""
    seconds = sorted(call.end - call.start for call in calls)
    errors = Counter(call.error for call in calls if call.error)
    return Phase(len(calls), dict(errors), statistics.median(seconds), seconds[int(len(seconds) * 0.99)], max(seconds))


MOST_FAILED = 0.02
"""Share of failed calls, while a worker is stopped, from which on the check fails."""


@dataclass
class StoppedResult(Result):
    """Results of a run.

    Attributes:
        control: the calls before the stop, by kind of client.
        stopped: the calls that were made or under way while a worker was stopped, by kind of client; without named ones
            if it was stopped in a transaction.
        recorded_after: for a worker stopped in a transaction, seconds from the stop to the end of the first successful
            named call that began after the stop, by kind of client; None if there was none.
        changed: number of repeated named calls that returned a different forecast.
    """

    control: dict[str, Phase] = field(default_factory=dict)
    stopped: dict[str, Phase] = field(default_factory=dict)
    recorded_after: dict[str, float | None] = field(default_factory=dict)
    changed: int = 0

    def breaches(self) -> list[str]:
        """Describe the failed checks."""
        failing = {kind: phase.errors for kind, phase in self.control.items() if phase.errors}
        found = [f"{kind}: calls failed before the stop: {errors}" for kind, errors in failing.items()]
        for kind, phase in self.stopped.items():
            if phase.failed >= MOST_FAILED:
                found.append(f"{kind}: {phase.failed:.1%} of the calls failed while a worker was stopped")
        found += [f"{kind}: nothing was recorded again" for kind, at in self.recorded_after.items() if at is None]
        return [*found, *(["a repeated call returned another forecast"] if self.changed else [])]

    def report(self) -> str:
        """Return a table of the calls, and when forecasts were recorded again."""
        lines = [f"{'':22}{'calls':>8}{'failed':>10}{'p50, ms':>10}{'p99, ms':>10}{'longest, ms':>13}"]
        for kind in self.stopped:
            for name, phase in (("control", self.control[kind]), ("a worker stopped", self.stopped[kind])):
                times = f"{1e3 * phase.p50:10.1f}{1e3 * phase.p99:10.1f}{1e3 * phase.longest:13.1f}"
                lines.append(f"{f'{kind}, {name}':22}{phase.calls:8}{phase.failed:10.2%}{times}")
        for kind, seconds in self.recorded_after.items():
            after = "never" if seconds is None else f"after {seconds:.1f} s"
            lines.append(f"{kind}: the first forecast was recorded {after}; the calls above are what-ifs")
        return "\n".join(lines)


async def _try(
    kind: str, server: SpawnedServer, options: argparse.Namespace, result: StoppedResult, worker: psutil.Process
) -> None:
    async with CLIENTS[kind](server.address) as client:
        callers = Callers(client, f"{options.seed}-{kind}")
        tasks = [asyncio.create_task(callers.run(number)) for number in range(options.callers)]
        await asyncio.sleep(options.seconds)
        await _stop(worker, writing=options.writing)
        stopped = time.monotonic()
        try:
            await asyncio.sleep(options.seconds)
        finally:
            continued = time.monotonic()
            with suppress(psutil.NoSuchProcess):  # the supervisor killed it, and started another one
                worker.resume()
        callers.stop.set()
        await asyncio.gather(*tasks)
    result.control[kind] = phase_of([call for call in callers.calls if call.end < stopped])
    during = [call for call in callers.calls if stopped <= call.end and call.start < continued]
    if options.writing:
        since = [call.end - stopped for call in during if call.named and not call.error and call.start >= stopped]
        result.recorded_after[kind] = min(since, default=None)
        during = [call for call in during if not call.named]
    result.stopped[kind] = phase_of(during)
    result.changed += callers.changed


async def _stop(worker: psutil.Process, *, writing: bool) -> None:
    """Stop a worker while it writes to the ledger, or while it does not."""
    while True:
        worker.suspend()
        while worker.status() != psutil.STATUS_STOPPED:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.001)
        if _holds_write_lock(worker.pid) is writing:
            return
        worker.resume()
        await asyncio.sleep(0.003)


def _holds_write_lock(pid: int) -> bool:
    """Return whether a process is in a transaction that writes to a SQLite file in WAL mode.

    It has a lock on byte 120 of the -shm file then (https://sqlite.org/walformat.html#wal_locks). A row of /proc/locks
    is number, POSIX or FLOCK, ADVISORY, WRITE or READ, process id, file, first byte, last byte; a row of a process that
    waits for a lock has an arrow.
    """
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" not in line]
    return any((kind, owner, first) == ("WRITE", str(pid), "120") for _, _, _, kind, owner, _, first, _ in locks)


async def run(options: argparse.Namespace, folder: Path) -> StoppedResult:
    """Stop a worker under each kind of client, each with a separate server."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(options.callers + 4))
    result = StoppedResult()
    for kind in CLIENTS:
        ledger = f"sqlite:///{folder / f'{kind}.sqlite3'}"
        with spawned_server("--workers", "2", "--ledger", ledger, standby=True) as server:
            worker = await asyncio.to_thread(_both_serve, server)
            await _try(kind, server, options, result, worker)
    return result


def _both_serve(server: SpawnedServer) -> psutil.Process:
    """Wait until both workers serve; return one."""
    first = server.wait_for("serving")
    server.wait_for("serving", lambda entry: entry != first)
    return server.workers[0]


if __name__ == "__main__":
    sys.exit(program(__doc__, run, callers=8, seconds=20.0, writing=False))
