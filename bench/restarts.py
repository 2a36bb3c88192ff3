"""Restarts and drains servers again and again, while clients publish and subscribe.

Run with `python -m bench.restarts` from the project's folder; `make nightly` runs `--rounds 50`. In each round a real
server gets SIGHUP and replaces all its workers, or (one round in five) is drained by SIGTERM and replaced by a new
server on the same port. The clients and the comparison with the ledger are the same as in `bench.kills`. Checks:

- No call of a client with the documented retries fails because of a rolling restart. Calls that fail between a drain
  and the start of the next server are counted separately and retried.
- No acknowledged forecast is missing or duplicated, and every stream has every forecast once and in order.
- A drained server exits with 0, and no server logs a warning or an error.

Exits with 1 if a check fails.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.clients import Clients, LoadResult, add_client_options, aligned, load_report, spread
from bench.result import program, show_round
from tests.support.processes.servers import SpawnedServer, spawned_server

RELOAD_SECONDS = 120.0


@dataclass
class RestartResult(LoadResult):
    """Results of a run.

    Attributes:
        reload_seconds: duration of each rolling restart, from the server's log.
        drain_seconds: duration of each drain, from the signal to the end of the process.
        exit_codes: exit codes other than 0.
        complaints: events in the servers' logs at level warning or above, except the age of the bundle's ratings.
    """

    reload_seconds: list[float] = field(default_factory=list)
    drain_seconds: list[float] = field(default_factory=list)
    exit_codes: list[int] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def breaches(self) -> list[str]:
        """Return the names of the failed checks."""
        return [*super().breaches(), *(name for name in ("exit_codes", "complaints") if getattr(self, name))]


class Server:
    """A server that is reloaded and restarted on the same port and ledger."""

    def __init__(self, stack: ExitStack, ledger: str, workers: int, result: RestartResult) -> None:
        self._stack = stack
        self._arguments = ("--workers", str(workers), "--ledger", ledger)
        self._result = result
        self._server: SpawnedServer = stack.enter_context(spawned_server(*self._arguments, standby=True))
        self.address = self._server.address

    def reload(self) -> None:
        """Replace all workers; return when they are replaced."""
        known = len(self._server.events)
        self._server.process.send_signal(signal.SIGHUP)
        events = self._server.events
        reloaded = self._server.wait_for("reloaded", lambda entry: entry in events[known:], seconds=RELOAD_SECONDS)
        self._result.reload_seconds.append(reloaded["seconds"])

    def restart(self) -> None:
        """Drain the server and start another in its place; return when it listens."""
        self.drain()
        self._server = self._stack.enter_context(
            spawned_server("--listen", self.address, *self._arguments, standby=True)
        )
        _ = self._server.address

    def drain(self) -> None:
        """Stop the server with SIGTERM."""
        start = time.monotonic()
        code = self._server.stop(signal.SIGTERM)
        self._result.drain_seconds.append(time.monotonic() - start)
        self._result.exit_codes += [code] if code else []
        self._result.complaints += [_told(entry) for entry in self._server.troubles]


def _told(entry: dict[str, Any]) -> str:
    """Return the event of a log entry, with the last line of its traceback if it has one."""
    return ": ".join([entry["event"], *entry.get("exception", "").strip().splitlines()[-1:]])


async def run(options: argparse.Namespace, folder: Path) -> RestartResult:
    """Run the rounds and check the results."""
    url = f"sqlite:///{folder / 'ledger.sqlite3'}"
    result = RestartResult()
    with ExitStack() as stack:
        server = await asyncio.to_thread(Server, stack, url, options.workers, result)
        clients = Clients([server.address], options)
        await clients.start()
        for number in range(options.rounds):
            await clients.answers()
            if number % 5 < 4:
                result.count_round("reload")
                await asyncio.to_thread(server.reload)
            else:
                result.count_round("restart")
                with clients.publishers.outage():
                    await asyncio.to_thread(server.restart)
            show_round(number, options.rounds)
        await clients.answers()
        await clients.finish()
        await asyncio.to_thread(server.drain)
    await clients.judge(result, url)
    return result


def report(result: RestartResult, seconds: float) -> str:
    """Format the results for people."""
    return aligned(
        [
            *load_report(result, "rounds", seconds),
            ("exit codes but 0", f"{result.exit_codes or 'none'}; warnings: {result.complaints or 'none'}"),
            *spread("a rolling restart", result.reload_seconds),
            *spread("a drain", result.drain_seconds),
        ]
    )


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> int:
    """Run the program; return the exit code."""
    return program(
        arguments,
        show,
        description="measures rolling restarts and drains under load",
        run=run,
        report=report,
        add_options=add_client_options(),
    )


if __name__ == "__main__":
    sys.exit(main())
