"""PgBouncer before PostgreSQL: a ledger works if each connection has its own session, and says so otherwise."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.required import required_program
from tests.support.harness.waiting import until
from tests.support.processes.connections import answers, free_port
from tests.support.processes.postgres import database_without_ledger
from tests.support.processes.servers import async_worker

from dejavu_client import HALFTIME, AsyncDejavuClient
from dejavu_ledger.database.postgres import PostgresBackend
from dejavu_ledger.errors import LedgerUnavailable


@contextmanager
def pgbouncer(folder: Path, mode: str, size: int) -> Iterator[str]:
    """Run PgBouncer before an empty database; yield its URL."""
    program = required_program("pgbouncer", "pgbouncer")
    with database_without_ledger() as url:
        database, port = urlsplit(url), free_port()
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={database.port} user=postgres\n[pgbouncer]\nauth_type = any\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"pool_mode = {mode}\ndefault_pool_size = {size}\n"
        )
        as_another = ["-u", "postgres"] if os.geteuid() == 0 else []  # it refuses to run as root
        command = [program, "-q", *as_another, str(folder / "pgbouncer.ini")]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                asyncio.run(until(lambda: answers(f"127.0.0.1:{port}")))
                yield f"postgresql://postgres@127.0.0.1:{port}{database.path}"
            finally:
                process.terminate()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("size", [1, 10])
def test_a_session_of_single_transactions_is_refused_by_name(tmp_path: Path, mode: str, size: int) -> None:
    with pgbouncer(tmp_path, mode, size) as url:
        told = r"pool_mode = transaction; expected pool_mode = session"
        with closing(PostgresBackend(url)) as backend, pytest.raises(LedgerUnavailable, match=told):
            backend.open(make=True)


def test_with_a_session_each_forecasts_are_recorded_and_streamed(tmp_path: Path) -> None:
    async def forecast(url: str) -> list[int]:
        async with (
            async_worker(tmp_path, ledger=url) as worker,
            AsyncDejavuClient(worker.address) as client,
        ):
            stream = client.stream_predictions(heartbeats=True)
            assert (await anext(stream)).HasField("heartbeat")
            made = await client.predict(PATTERN, horizon=HALFTIME, game_id=current_game(1))
            while not (event := await anext(stream)).HasField("forecast"):
                pass
            await stream.aclose()
            return [made.sequence, event.forecast.sequence]

    with pgbouncer(tmp_path, "session", 20) as url:
        assert asyncio.run(forecast(url)) == [1, 1]
