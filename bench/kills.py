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
import random
import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path

import psutil
from bench.clients import LoadResult, kill_worker, new_ledger, new_server, running_clients
from bench.result import program
from tests.support.processes.restartable_server import Restartable


def kill_supervisor(victim: Restartable) -> int:
    """Kill a supervisor, and start another server in its place; return the number of workers that outlive it."""
    workers = psutil.Process(victim.server.process.pid).children()
    victim.server.process.kill()
    _, alive = psutil.wait_procs(workers, timeout=20)
    orphans = sum(worker.status() != psutil.STATUS_ZOMBIE for worker in alive)
    victim.start_again()
    return orphans


async def run(options: argparse.Namespace, folder: Path) -> LoadResult:
    """Run the rounds and check the results."""
    choose, result = random.Random(options.seed), LoadResult()
    with ExitStack() as stack:
        url, database = new_ledger(stack, folder, postgres=options.postgres)
        victims = [new_server(stack, url) for _ in range(options.servers)]
        async with running_clients(result, url, [each.address for each in victims], options.seed) as clients:
            async for number in clients.rounds(options.rounds):
                victim = choose.choice(victims)
                if database is not None and number % 10 == 9:
                    result.rounds["database"] += 1
                    with clients.outage():
                        await asyncio.to_thread(database.kill)
                        await asyncio.to_thread(database.start)
                        await clients.more(1)  # the ledger is open again
                elif number % 5 == 4:
                    result.rounds["supervisor"] += 1
                    with clients.outage() if len(victims) == 1 else nullcontext():
                        result.orphans += await asyncio.to_thread(kill_supervisor, victim)
                else:
                    result.rounds["worker"] += 1
                    result.back_seconds.append(await asyncio.to_thread(kill_worker, victim.server, choose))
    return result


if __name__ == "__main__":
    sys.exit(program(__doc__, run, rounds=50, servers=1, postgres=False))
