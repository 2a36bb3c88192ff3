"""Two servers with one ledger: if one is killed, calls and streams go on.

On PostgreSQL too, with DEJAVU_TEST_LEDGER=postgresql.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

import psutil
from tests.support.processes.load import load
from tests.support.processes.postgres import on_postgres, postgres_ledger
from tests.support.processes.servers import SpawnedServer, spawned_server


def kill(server: SpawnedServer) -> None:
    """Kill a supervisor and its workers."""
    workers = psutil.Process(server.process.pid).children()
    server.process.kill()
    for worker in workers:
        worker.kill()
    server.process.wait()
    psutil.wait_procs(workers, timeout=20)


async def test_calls_and_streams_go_on_when_one_of_two_servers_is_killed(tmp_path: Path) -> None:
    with ExitStack() as stack:
        ledger = stack.enter_context(postgres_ledger()) if on_postgres() else f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
        arguments = ("--ledger", ledger, "--workers", "1")
        servers = [stack.enter_context(spawned_server(*arguments)) for _ in range(2)]
        async with load(",".join([server.address for server in servers])) as clients:
            await clients.answers(50)
            await asyncio.to_thread(kill, servers[0])
            await clients.answers(50)
        clients.check()
