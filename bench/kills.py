"""Kills workers and supervisors with SIGKILL, again and again, while clients publish and subscribe.

Run with `python -m bench.kills` from the project's folder; `make nightly` runs `--rounds 50`, with one server and with
`--servers 2` on one ledger. Each round kills a worker of a real server or, in one round in five, its supervisor. With
`--postgres` the ledger is in a PostgreSQL server, which is killed in one round in ten. Meanwhile clients request
forecasts, and others subscribe to the stream: half of them with the Python client, half with bare stubs, which hide no
repeated or lost message. At the end the results are checked against the ledger:

- No acknowledged forecast is missing or duplicated.
- Every stream has every forecast once and in the ledger's order.
- A client with the documented retries sees no error when a worker dies, nor when a whole server dies while another one
  runs. Calls that fail between the death of the only supervisor and the start of the next server, or while the
  database is down, are counted separately and retried.
- The hash chain is intact, and no worker outlives its supervisor.

Exits with 1 if a check fails.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path

import psutil
from bench.clients import Clients, LoadResult, add_client_options, aligned, load_report
from bench.result import program, show_round
from tests.support.processes.postgres import own_server
from tests.support.processes.servers import spawned_server


class Victim:
    """A server whose processes are killed; restarted on the same port and ledger."""

    def __init__(self, stack: ExitStack, ledger: str, workers: int) -> None:
        self._stack = stack
        self._arguments = ("--workers", str(workers), "--ledger", ledger)
        self._server = stack.enter_context(spawned_server(*self._arguments, standby=True))
        self.address = self._server.address
        self.orphans = 0

    def kill_worker(self, choose: random.Random) -> float:
        """Kill a worker; return the seconds until its replacement serves."""
        worker = choose.choice(self._server.workers)
        known = {entry["worker"] for entry in self._server.events if entry["event"] == "serving"}
        start = time.monotonic()
        os.kill(worker.pid, signal.SIGKILL)
        self._server.wait_for("serving", lambda entry: entry["worker"] not in known)
        return time.monotonic() - start

    def kill_supervisor(self) -> None:
        """Kill the supervisor, wait for its workers to exit, and start another server in its place."""
        workers = psutil.Process(self._server.process.pid).children()
        self._server.process.kill()
        _, alive = psutil.wait_procs(workers, timeout=20)
        self.orphans += sum(worker.status() != psutil.STATUS_ZOMBIE for worker in alive)
        self._server = self._stack.enter_context(
            spawned_server("--listen", self.address, *self._arguments, standby=True)
        )
        _ = self._server.address


async def run(options: argparse.Namespace, folder: Path) -> LoadResult:
    """Run the rounds and check the results."""
    choose = random.Random(options.seed)
    result = LoadResult()
    with ExitStack() as stack:
        database = await asyncio.to_thread(stack.enter_context, own_server()) if options.postgres else None
        url = f"sqlite:///{folder / 'ledger.sqlite3'}"
        if database is not None:
            url = database.url(await asyncio.to_thread(database.new_database))
        victims = [await asyncio.to_thread(Victim, stack, url, options.workers) for _ in range(options.servers)]
        clients = Clients([each.address for each in victims], options)
        await clients.start()
        for number in range(options.rounds):
            victim = victims[choose.randrange(len(victims))]
            await clients.answers()
            if database is not None and number % 10 == 9:
                result.count_round("database")
                with clients.publishers.outage():
                    await asyncio.to_thread(database.kill)
                    await asyncio.to_thread(database.start)
                    await clients.publishers.more(1)  # the ledger is open again
            elif number % 5 == 4:
                result.count_round("supervisor")
                with clients.publishers.outage() if len(victims) == 1 else nullcontext():
                    await asyncio.to_thread(victim.kill_supervisor)
            else:
                result.count_round("worker")
                result.back_seconds.append(await asyncio.to_thread(victim.kill_worker, choose))
            show_round(number, options.rounds)
        await clients.answers()
        await clients.finish()
        await clients.judge(result, url)
        result.orphans = sum(each.orphans for each in victims)
    return result


def report(result: LoadResult, seconds: float) -> str:
    """Format the results for people."""
    return aligned([*load_report(result, "kills", seconds), ("orphaned workers", f"{result.orphans}")])


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> int:
    """Run the program; return the exit code."""
    return program(
        arguments,
        show,
        description="kills workers and supervisors under load",
        run=run,
        report=report,
        add_options=add_client_options(servers=1, help_of_postgres="keep the ledger in PostgreSQL, and kill that too"),
    )


if __name__ == "__main__":
    sys.exit(main())
