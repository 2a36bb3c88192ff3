"""A ledger in PostgreSQL: its sessions, their ends, and its errors, which name no secret."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator

import psycopg
import pytest
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.harness.tokens import token_of
from tests.support.processes.postgres import database_without_ledger, postgres_ledger, shared_server

from dejavu_ledger import (
    Durability,
    InvalidLedgerUrl,
    Ledger,
    LedgerCorrupt,
    LedgerError,
    LedgerSchemaError,
    LedgerUnavailable,
    verify,
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


def execute(url: str, statement: str) -> None:
    shared_server().execute(statement, url.rpartition("/")[2])


async def test_many_may_open_a_new_ledger_at_once(empty: str) -> None:
    ledgers = await asyncio.gather(*(Ledger.open(empty) for _ in range(4)))
    stored = [await recorded(ledger, issued(game(number))) for number, ledger in enumerate(ledgers)]
    assert [answer[0].sequence for answer in stored] == [1, 2, 3, 4]
    assert len({await token_of(ledger, 0) for ledger in ledgers}) == 1
    for ledger in ledgers:
        await ledger.close()
    assert verify(empty).sequence == 4


def test_one_database_holds_several_ledgers_in_schemas(empty: str) -> None:
    execute(empty, "CREATE SCHEMA a; CREATE SCHEMA b")
    found = []
    for name in ("a", "b"):
        opened = PostgresBackend(f"{empty}?options=-csearch_path%3D{name}")
        opened.open(make=True)
        with opened.read() as connection:
            found.append(store.identity(connection).ledger_id)
        opened.close()
    assert len(set(found)) == 2
    missing = PostgresBackend(f"{empty}?options=-csearch_path%3Dc")
    with pytest.raises(LedgerSchemaError, match="search_path names does not exist"):
        missing.open(make=True)
    missing.close()


def test_a_ledger_that_was_replaced_while_it_was_open_takes_no_forecast(made: str) -> None:
    opened = PostgresBackend(made)
    opened.open(make=False)
    execute(made, "UPDATE ledger SET ledger_id = repeat('a', 32)")
    with pytest.raises(LedgerReplaced):
        opened.check()
    with pytest.raises(LedgerReplaced), opened.write():
        raise AssertionError("it starts nothing")
    opened.close()


def test_a_database_that_does_not_wait_for_the_disk_cannot_promise_to_survive_a_power_loss(made: str) -> None:
    opened = PostgresBackend(made, Durability.POWER)
    with pytest.raises(LedgerUnavailable, match="fsync is off"):
        opened.open(make=False)
    opened.close()


def test_commits_wait_for_the_log_even_where_the_role_does_not(made: str) -> None:
    execute(made, f"ALTER DATABASE {made.rpartition('/')[2]} SET synchronous_commit = off")
    opened = PostgresBackend(made)
    opened.open(make=False)
    with opened.write() as connection:
        assert sql.value(connection, "SHOW synchronous_commit") == "on"
    opened.close()


def test_a_statement_that_failed_unnoticed_is_never_taken_for_a_commit(made: str) -> None:
    opened = PostgresBackend(made)
    opened.open(make=False)

    def swallow() -> None:
        with opened.write() as connection, contextlib.suppress(psycopg.Error):
            sql.rows(connection, "SELECT * FROM nowhere")

    with pytest.raises(LedgerUnavailable, match="could not be written"):
        swallow()
    opened.probe()
    opened.close()


def test_idle_connections_that_the_server_ended_fail_no_call(made: str) -> None:
    opened = PostgresBackend(made)
    opened.open(make=False)
    for _ in range(2):
        execute(
            made,
            "SELECT pg_terminate_backend(pid, 9000) FROM pg_stat_activity WHERE application_name = 'dejavu-server'"
            " AND datname = current_database()",
        )
        opened.probe()
        opened.check()
    opened.close()


def test_a_server_that_says_nothing_is_given_up(made: str) -> None:
    """A socket that accepts connections and never answers behaves like a stopped machine."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        opened = PostgresBackend(f"postgresql://a@127.0.0.1:{silent.getsockname()[1]}/x")
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable, match="not reachable"):
            opened.open(make=False)
        assert time.monotonic() - began < 30
        opened.close()


def test_a_connection_gives_up_on_a_statement_without_an_answer(made: str) -> None:
    opened = PostgresBackend(made, answer_seconds=0.5)
    opened.open(make=False)
    with pytest.raises(LedgerUnavailable, match=r"took too long|not reachable"), opened.read() as connection:
        sql.rows(connection, "SELECT pg_sleep(60)")
    opened.check()
    opened.close()


def _error(code: str, text: str = "secret") -> psycopg.Error:
    return psycopg.errors.lookup(code)(text) if code else psycopg.OperationalError(text)


@pytest.mark.parametrize(
    ("code", "text", "expected", "told"),
    [
        ("53100", "", LedgerUnavailable, "full"),
        ("53300", "", LedgerUnavailable, "no free connection"),
        ("25006", "", LedgerUnavailable, "read-only"),
        ("57P01", "", LedgerUnavailable, "stopped or started"),
        ("57014", "", LedgerUnavailable, "too long"),
        ("55P03", "", LedgerUnavailable, "locked"),
        ("42501", "", LedgerUnavailable, "permission denied"),
        ("XX001", "", LedgerCorrupt, "page"),
        ("23505", "", LedgerCorrupt, "contradict"),
        ("42P01", "", LedgerSchemaError, "missing"),
        ("42703", "", LedgerSchemaError, "missing"),
        ("", "FATAL: sorry, too many clients already", LedgerUnavailable, "no free connection"),
        ("", 'FATAL: password authentication failed for user "x"', LedgerUnavailable, "refused the login"),
        ("", "secret host", LedgerUnavailable, "not reachable"),
        ("22012", "", LedgerUnavailable, "failed"),
    ],
)
def test_errors_are_told_by_their_codes(code: str, text: str, expected: type[LedgerError], told: str) -> None:
    converted = postgres_connections.from_driver(_error(code, text or "secret"))
    assert type(converted) is expected
    assert told in str(converted)
    assert "secret" not in str(converted)


@pytest.mark.parametrize("url", ["postgresql://a:secret@h/x", "postgresql://h/x?nonsense=1", "postgresql://h"])
def test_a_url_that_libpq_does_not_take_is_refused(url: str) -> None:
    with pytest.raises(InvalidLedgerUrl) as refused:
        PostgresBackend(url)
    assert "secret" not in str(refused.value)


def test_of_several_hosts_the_one_that_takes_writes_is_used() -> None:
    assert postgres.connection_parameters("postgresql://a,b/x")["target_session_attrs"] == "read-write"
    assert "target_session_attrs" not in postgres.connection_parameters("postgresql://a/x")


def test_a_value_that_the_driver_refuses_is_no_failure_of_the_ledger(made: str) -> None:
    opened = PostgresBackend(made)
    opened.open(make=False)
    with pytest.raises(ValueError, match="NUL"), opened.read() as connection:
        sql.rows(connection, "SELECT sequence FROM forecasts WHERE model_version = :version", version="a\0")
    opened.close()
