"""Measures calls of both clients while one of two workers is stopped (SIGSTOP): TCP accepts data, but nothing answers.

Run with `python -m bench.network.stopped_worker` from the project's folder. For each client, some callers call a real
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
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import psutil
from bench.network.callers import Callers, phase_of
from bench.network.stopped_result import StoppedResult
from tests.support.harness.clients import CLIENTS
from tests.support.processes.servers import SpawnedServer, spawned_server


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


def report(result: StoppedResult) -> str:
    """Format the results for people."""
    lines = [f"{'':22}{'calls':>8}{'failed':>10}{'p50, ms':>10}{'p99, ms':>10}{'longest, ms':>13}"]
    for kind in result.stopped:
        for name, phase in (("control", result.control[kind]), ("a worker stopped", result.stopped[kind])):
            times = f"{1e3 * phase.p50:10.1f}{1e3 * phase.p99:10.1f}{1e3 * phase.longest:13.1f}"
            lines.append(f"{f'{kind}, {name}':22}{phase.calls:8}{phase.failed:10.2%}{times}")
    for kind, seconds in result.recorded_after.items():
        after = "never" if seconds is None else f"after {seconds:.1f} s"
        lines.append(f"{kind}: the first forecast was recorded {after}; the calls above are what-ifs")
    return "\n".join([*lines, f"repeated named calls answered otherwise: {result.changed}"])


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> int:
    """Run the program; return the exit code."""
    parser = argparse.ArgumentParser(description="measures calls while one of two workers is stopped")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each period: control, and stopped")
    parser.add_argument("--writing", action="store_true", help="stop the worker in a transaction")
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
