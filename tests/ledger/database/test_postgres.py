"""A ledger in PostgreSQL: its sessions, their ends, PgBouncer before it, and its errors, which name no secret."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.required import required_program
from tests.support.harness.waiting import until
from tests.support.processes.connections import answers, free_port
from tests.support.processes.postgres import database_without_ledger, postgres_ledger, shared_server
from tests.support.processes.servers import async_worker

from dejavu_client import HALFTIME, AsyncDejavuClient
from dejavu_ledger import (
    Durability,
    LedgerCorrupt,
    LedgerError,
    LedgerSchemaError,
    LedgerUnavailable,
)
from dejavu_ledger.database import postgres, postgres_connections, sql, store
from dejavu_ledger.database.postgres import PostgresBackend
from dejavu_ledger.errors import LedgerReplaced


@pytest.fixture
def empty() -> Iterator[str]:
    with database_without_ledger() as url:
        yield url


@pytest.fixture
def made() -> Iterator[str]:
    with postgres_ledger() as url:
        yield url


@pytest.fixture
def opened(made: str) -> Iterator[PostgresBackend]:
    with closing(PostgresBackend(made)) as backend:
        backend.open(make=False)
        yield backend


def execute(url: str, statement: str) -> None:
    shared_server().execute(statement, url.rpartition("/")[2])


def test_one_database_holds_several_ledgers_in_schemas(empty: str) -> None:
    execute(empty, "CREATE SCHEMA a; CREATE SCHEMA b")
    found = []
    for name in ("a", "b"):
        with closing(PostgresBackend(f"{empty}?options=-csearch_path%3D{name}")) as backend:
            backend.open(make=True)
            with backend.read() as connection:
                found.append(store.identity(connection).ledger_id)
    assert len(set(found)) == 2
    with (
        closing(PostgresBackend(f"{empty}?options=-csearch_path%3Dc")) as missing,
        pytest.raises(LedgerSchemaError, match="search_path names does not exist"),
    ):
        missing.open(make=True)


def test_a_ledger_that_was_replaced_while_it_was_open_takes_no_forecast(opened: PostgresBackend, made: str) -> None:
    execute(made, "UPDATE ledger SET ledger_id = repeat('a', 32)")
    with pytest.raises(LedgerReplaced):
        opened.check()
    with pytest.raises(LedgerReplaced), opened.write():
        raise AssertionError("it starts nothing")


def test_a_database_that_does_not_wait_for_the_disk_cannot_promise_to_survive_a_power_loss(made: str) -> None:
    with (
        closing(PostgresBackend(made, Durability.POWER)) as opened,
        pytest.raises(LedgerUnavailable, match="fsync is off"),
    ):
        opened.open(make=False)


def test_commits_wait_for_the_log_even_where_the_role_does_not(made: str) -> None:
    execute(made, f"ALTER DATABASE {made.rpartition('/')[2]} SET synchronous_commit = off")
    with closing(PostgresBackend(made)) as opened:
        opened.open(make=False)
        with opened.write() as connection:
            assert sql.value(connection, "SHOW synchronous_commit") == "on"


def test_a_statement_that_failed_unnoticed_is_never_taken_for_a_commit(opened: PostgresBackend) -> None:

    def swallow() -> None:
        with opened.write() as connection, contextlib.suppress(psycopg.Error):
            sql.rows(connection, "SELECT * FROM nowhere")

    with pytest.raises(LedgerUnavailable, match="could not be written"):
        swallow()
    opened.probe()


def test_idle_connections_that_the_server_ended_fail_no_call(opened: PostgresBackend, made: str) -> None:
    for _ in range(2):
        execute(
            made,
            "SELECT pg_terminate_backend(pid, 9000) FROM pg_stat_activity WHERE application_name = 'dejavu-server'"
            " AND datname = current_database()",
        )
        opened.probe()
        opened.check()


def test_a_server_that_says_nothing_is_given_up(made: str) -> None:
    """A socket that accepts connections and never answers behaves like a stopped machine."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable, match="not reachable"):
            PostgresBackend(f"postgresql://a@127.0.0.1:{silent.getsockname()[1]}/x").open(make=False)
        assert time.monotonic() - began < 30


def test_a_connection_gives_up_on_a_statement_without_an_answer(made: str) -> None:
    with closing(PostgresBackend(made, answer_seconds=0.5)) as opened:
        opened.open(make=False)
        with pytest.raises(LedgerUnavailable, match=r"took too long|not reachable"), opened.read() as connection:
            sql.rows(connection, "SELECT pg_sleep(60)")
        opened.check()


@pytest.mark.parametrize(
    ("error", "expected", "told"),
    [
        (psycopg.errors.lookup("53100")("secret"), LedgerUnavailable, "full"),
        (psycopg.errors.lookup("53300")("secret"), LedgerUnavailable, "no free connection"),
        (psycopg.errors.lookup("25006")("secret"), LedgerUnavailable, "read-only"),
        (psycopg.errors.lookup("57P01")("secret"), LedgerUnavailable, "stopped or started"),
        (psycopg.errors.lookup("55P03")("secret"), LedgerUnavailable, "locked"),
        (psycopg.errors.lookup("42501")("secret"), LedgerUnavailable, "permission denied"),
        (psycopg.errors.lookup("XX001")("secret"), LedgerCorrupt, "page"),
        (psycopg.errors.lookup("23505")("secret"), LedgerCorrupt, "contradict"),
        (psycopg.errors.lookup("42P01")("secret"), LedgerSchemaError, "missing"),
        (psycopg.OperationalError("FATAL: sorry, too many clients already"), LedgerUnavailable, "no free connection"),
        (
            psycopg.OperationalError('FATAL: password authentication failed for user "x"'),
            LedgerUnavailable,
            "refused the login",
        ),
        (psycopg.OperationalError("secret host"), LedgerUnavailable, "not reachable"),
    ],
)
def test_errors_are_told_by_their_codes(error: psycopg.Error, expected: type[LedgerError], told: str) -> None:
    converted = postgres_connections.from_driver(error)
    assert type(converted) is expected
    assert told in str(converted)
    assert "secret" not in str(converted)


def test_of_several_hosts_the_one_that_takes_writes_is_used() -> None:
    assert postgres.connection_parameters("postgresql://a,b/x")["target_session_attrs"] == "read-write"
    assert "target_session_attrs" not in postgres.connection_parameters("postgresql://a/x")


def test_a_database_that_only_reads_is_told_from_a_standby(made: str) -> None:
    execute(made, f"ALTER DATABASE {made.rpartition('/')[2]} SET default_transaction_read_only = on")
    with closing(PostgresBackend(made)) as opened:
        opened.open(make=False)
        read_only = "read-only: its database or its role has default_transaction_read_only"
        with pytest.raises(LedgerUnavailable, match=read_only), opened.write():
            pass


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


@pytest.mark.parametrize("size", [1, 10])
def test_a_session_of_single_transactions_is_refused_by_name(tmp_path: Path, size: int) -> None:
    with pgbouncer(tmp_path, "transaction", size) as url:
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
