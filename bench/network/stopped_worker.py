"""Calls of both clients while one of two workers is stopped (SIGSTOP): TCP accepts what they send, nothing answers.

Run with `python -m bench.network.stopped_worker` from the project's folder. For each client, some callers call a real
server of two workers: a what-if, then a named game, twice. After a time without faults, the control, one worker is
stopped, and continued later. Checks:

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
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from bench.network.callers import Callers, phase_of
from bench.network.stopped_result import StoppedResult
from tests.support.harness.clients import CLIENTS
from tests.support.processes.servers import SpawnedServer, spawned_server


async def _try(
    kind: str, server: SpawnedServer, options: argparse.Namespace, result: StoppedResult, victim: int
) -> None:
    async with CLIENTS[kind](server.address) as client:
        callers = Callers(client, f"{options.seed}-{kind}")
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
    result.control[kind] = phase_of([call for call in callers.calls if call.end < stopped])
    result.stopped[kind] = phase_of([call for call in callers.calls if stopped <= call.end and call.start < continued])
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
