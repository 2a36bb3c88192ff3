"""Calls of both clients while one of two workers is stopped (SIGSTOP): TCP accepts what they send, nothing answers.

Run with `python -m bench.network.stopped_worker` from the project's folder.
For each client a real server of two workers is
called by some callers in turn, half of the calls for named games; every named call is repeated once. After a time
without faults, the control, one worker is stopped, and continued later. Checks:

- Fewer than 2 % of the calls fail while the worker is stopped, and none before. Their deadline is the client's default.
- A repeated named call returns the stored forecast, whichever worker answers.

Exits with 1 if a check fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.support.harness.clients import CLIENTS, AnyClient
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu_client import Forecast
from dejavu_client.errors import DejavuClientError

MOST_FAILED = 0.02
"""Largest share of calls that may fail while a worker is stopped."""

THINKING_SECONDS = 0.02
"""Mean pause of a caller after each call; limits the load."""


@dataclass
class Phase:
    """The calls of one time.

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


@dataclass
class StoppedResult:
    """Results of a run.

    Attributes:
        control: the calls before the stop, by kind of client.
        stopped: the calls that were made or under way while a worker was stopped, by kind of client.
        changed: number of repeated named calls that returned another forecast.
    """

    control: dict[str, Phase] = field(default_factory=dict)
    stopped: dict[str, Phase] = field(default_factory=dict)
    changed: int = 0

    def breaches(self) -> list[str]:
        """Describes the failed checks."""
        found = [f"{kind}: calls failed before the stop" for kind, phase in self.control.items() if phase.errors]
        for kind, phase in self.stopped.items():
            if phase.failed >= MOST_FAILED:
                found.append(f"{kind}: {phase.failed:.1%} of the calls failed while a worker was stopped")
        return [*found, *(["a repeated call returned another forecast"] if self.changed else [])]


@dataclass(frozen=True)
class _Call:
    start: float
    end: float
    error: str


class _Callers:
    def __init__(self, client: AnyClient, seed: str) -> None:
        self._client = client
        self._seed = seed
        self.calls: list[_Call] = []
        self.changed = 0
        self.stop = asyncio.Event()

    async def run(self, number: int) -> None:
        """Calls until stopped: a what-if, then a named game, twice."""
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
            forecast: Forecast = await self._client.call("predict", pattern, game_id=game_id)
            return forecast.sequence
        except DejavuClientError as failure:
            error = type(failure).__name__
            return None
        finally:
            self.calls.append(_Call(start, time.monotonic(), error))


def _phase(calls: Sequence[_Call]) -> Phase:
    seconds = sorted(call.end - call.start for call in calls)
    errors = Counter(call.error for call in calls if call.error)
    return Phase(len(calls), dict(errors), statistics.median(seconds), seconds[int(len(seconds) * 0.99)], max(seconds))


async def _try(
    kind: str, server: SpawnedServer, options: argparse.Namespace, result: StoppedResult, victim: int
) -> None:
    async with CLIENTS[kind](server.address) as client:
        callers = _Callers(client, f"{options.seed}-{kind}")
        tasks = [asyncio.create_task(callers.run(number)) for number in range(options.callers)]
        await asyncio.sleep(options.seconds)
        os.kill(victim, signal.SIGSTOP)
        stopped = time.monotonic()
        try:
            await asyncio.sleep(options.seconds)
        finally:
            continued = time.monotonic()
            with suppress(ProcessLookupError):  # the supervisor killed it, and started another one
                os.kill(victim, signal.SIGCONT)
        callers.stop.set()
        await asyncio.gather(*tasks)
    result.control[kind] = _phase([call for call in callers.calls if call.end < stopped])
    result.stopped[kind] = _phase([call for call in callers.calls if stopped <= call.end and call.start < continued])
    result.changed += callers.changed


async def run(options: argparse.Namespace, folder: Path) -> StoppedResult:
    """Stops a worker under each kind of client, on a server of its own."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(options.callers + 4))
    result = StoppedResult()
    for kind in CLIENTS:
        ledger = f"sqlite:///{folder / f'{kind}.sqlite3'}"
        with spawned_server("--workers", "2", "--ledger", ledger, standby=True) as server:
            victim = await asyncio.to_thread(_both_serve, server)
            await _try(kind, server, options, result, victim)
    return result


def _both_serve(server: SpawnedServer) -> int:
    """Waits until both workers serve; returns the process id of one."""
    first = server.wait_for("serving")
    server.wait_for("serving", lambda entry: entry != first)
    return int(first["worker"].partition("-")[2])


def report(result: StoppedResult) -> str:
    """Formats the results for people."""
    lines = [f"{'':22}{'calls':>8}{'failed':>10}{'p50, ms':>10}{'p99, ms':>10}{'longest, ms':>13}"]
    for kind in result.stopped:
        for name, phase in (("control", result.control[kind]), ("a worker stopped", result.stopped[kind])):
            times = f"{1e3 * phase.p50:10.1f}{1e3 * phase.p99:10.1f}{1e3 * phase.longest:13.1f}"
            lines.append(f"{f'{kind}, {name}':22}{phase.calls:8}{phase.failed:10.2%}{times}")
    return "\n".join([*lines, f"repeated named calls answered otherwise: {result.changed}"])


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> int:
    """Runs the program; returns the exit code."""
    parser = argparse.ArgumentParser(description="measures calls while one of two workers is stopped")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each time: control, and stopped")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    logging.getLogger("dejavu_client").setLevel(logging.CRITICAL)  # it logs slow calls
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(run(options, Path(folder)))
    show(json.dumps(asdict(result)) if options.json else report(result))
    for breach in result.breaches():
        print(f"broken: {breach}", file=sys.stderr)
    return 1 if result.breaches() else 0


if __name__ == "__main__":
    sys.exit(main())
