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
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bench.clients import LoadResult, new_ledger, new_server, running_clients
from bench.result import program
from tests.support.processes.servers import SpawnedServer

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

    MUST_BE_EMPTY: ClassVar[tuple[str, ...]] = (*LoadResult.MUST_BE_EMPTY, "exit_codes", "complaints")
    reload_seconds: list[float] = field(default_factory=list)
    drain_seconds: list[float] = field(default_factory=list)
    exit_codes: list[int] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def reload(self, server: SpawnedServer) -> None:
        """Replace all workers of a server; return when they are replaced."""
        known = len(server.events)
        server.process.send_signal(signal.SIGHUP)
        events = server.events
        reloaded = server.wait_for("reloaded", lambda entry: entry in events[known:], seconds=RELOAD_SECONDS)
        self.reload_seconds.append(reloaded["seconds"])

    def drain(self, server: SpawnedServer) -> None:
        """Stop a server with SIGTERM."""
        start = time.monotonic()
        code = server.stop(signal.SIGTERM)
        self.drain_seconds.append(time.monotonic() - start)
        self.exit_codes += [code] if code else []
        self.complaints += [_told(entry) for entry in server.troubles]


def _told(entry: dict[str, Any]) -> str:
    """Return the event of a log entry, with the last line of its traceback if it has one."""
    return ": ".join([entry["event"], *entry.get("exception", "").strip().splitlines()[-1:]])


async def run(options: argparse.Namespace, folder: Path) -> RestartResult:
    """Run the rounds and check the results."""
    result = RestartResult()
    with ExitStack() as stack:
        url, _ = new_ledger(stack, folder, postgres=False)
        restarted = new_server(stack, url)
        async with running_clients(result, url, [restarted.address], options.seed) as clients:
            async for number in clients.rounds(options.rounds):
                if number % 5 < 4:
                    result.rounds["reload"] += 1
                    await asyncio.to_thread(result.reload, restarted.server)
                else:
                    result.rounds["restart"] += 1
                    with clients.outage():
                        await asyncio.to_thread(result.drain, restarted.server)
                        await asyncio.to_thread(restarted.start_again)
        await asyncio.to_thread(result.drain, restarted.server)
    return result


if __name__ == "__main__":
    sys.exit(program(__doc__, run, rounds=50))
