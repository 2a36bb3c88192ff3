"""PostgreSQL as the backend of a ledger: any number of processes on any number of machines.

A write locks the one row of `ledger` before it reads, in a transaction whose statements see all earlier commits. So
writers on any machines take turns, in one order.
Decision: docs/decisions/0047-several-servers.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from dejavu_common.failure_log import FailureLog
from dejavu_ledger.database import store
from dejavu_ledger.database.backend import CommitListener, Connection, Durability, StopSignal
from dejavu_ledger.database.creation import is_empty
from dejavu_ledger.database.postgres.connections import (
    ANSWER_SECONDS,
    BEGIN_SECONDS,
    GuardedConnection,
    Outage,
    check_session,
    driver_connection,
    new_engine,
)
from dejavu_ledger.database.postgres.creation import ensure_schema
from dejavu_ledger.database.postgres.listener import PostgresListener, channel_of
from dejavu_ledger.database.postgres.schema_check import check_schema
from dejavu_ledger.database.postgres.sqlstates import READ_ONLY, database_errors, driver_error, read_only_cause
from dejavu_ledger.database.schema import metadata
from dejavu_ledger.database.store import Identity
from dejavu_ledger.errors import (
    InvalidLedgerUrl,
    LedgerReplaced,
    LedgerSchemaError,
    LedgerUnavailable,
    ReadStopped,
)
from dejavu_ledger.url import check_ledger_url

CONNECT_SECONDS: Final = 2
"""Time to connect to one host; the shortest that libpq allows."""

_DEFAULTS: Final[dict[str, Any]] = {
    "application_name": "dejavu-server",
    "connect_timeout": CONNECT_SECONDS,
    # A database that vanished without closing its connections, as in a power loss, is noticed after some 10 s.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def connection_parameters(url: str) -> dict[str, Any]:
    """Return the parameters of a connection: those of the URL, and defaults. libpq adds those of the environment.

    Raises:
        InvalidLedgerUrl: if the URL is not one of PostgreSQL, or contains a password; the message never repeats it.
    """
    try:
        check_ledger_url(url)
        given = {name: value for name, value in conninfo_to_dict(url).items() if value is not None}
    except ValueError as error:
        raise InvalidLedgerUrl(str(error)) from None
    except psycopg.Error:
        raise InvalidLedgerUrl(f"{url!r} is no URL of libpq; expected postgresql://USER@HOST/DATABASE") from None
    several = "," in str(given.get("host", "")) + str(given.get("hostaddr", ""))
    primary = {"target_session_attrs": "read-write"} if several else {}
    return _DEFAULTS | primary | given | {"client_encoding": "UTF8"}


_log = structlog.get_logger(__name__)

NOTIFY_SECONDS: Final = 1.0
"""Time limit of a notification: the writer's thread waits for it, though no caller does."""

OFFLINE_SECONDS: Final = 600.0
"""Time that a command that reads a whole ledger waits for the next part of an answer."""

_BEGIN: Final = b"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT ledger_id FROM ledger WHERE id = 1 FOR UPDATE"

_SIZE: Final = text(
    "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema() WHERE c.relkind = 'r'"
)

_PAGE: Final = 20_000

_AT_ONCE_SECONDS: Final = 1.0

_READ_ROWS: Final = "SELECT sum(length(t::text)) FROM TABLE t WHERE sequence > :after AND sequence <= :last"


class PostgresBackend:
    """A ledger in a schema of a PostgreSQL database; see `Backend`.

    Args:
        url: postgresql://USER@HOST/DATABASE, with parameters of libpq.
        durability: what a committed transaction survives. Commits wait for the log in either case, since data that are
            not written yet do not survive the death of the database.
        answer_seconds: time that a connection waits for the next part of an answer.

    Raises:
        InvalidLedgerUrl: if the URL cannot name a ledger.
    """

    def __init__(
        self, url: str, durability: Durability = Durability.PROCESS, *, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._parameters = connection_parameters(url)
        self._durability = durability
        self._outage = Outage()
        new = partial(new_engine, self._parameters, self._outage, answer_seconds=answer_seconds)
        self._writing, self._reading = new(writing=True), new(writing=False)
        self._identity: Identity | None = None
        self._notifying_session = 0
        self._notify_failures = FailureLog(_log, failed="ledger_announcement_failed", recovered="ledger_announced")

    def open(self, *, make: bool) -> None:
        """See `Backend.open`. Creates the tables, not the database or its schema."""
        with database_errors():
            check_session(self._reading)
            ensure_schema(self._writing, make=make)
        with self.read() as connection:
            self._check_settings(connection)
            self._identity = store.identity(connection)

    def _check_settings(self, connection: Connection) -> None:
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise LedgerSchemaError(f"the database cannot hold a ledger: its encoding is {encoding}; expected UTF8")
        if self._durability is Durability.POWER and connection.exec_driver_sql("SHOW fsync").scalar_one() != "on":
            raise LedgerUnavailable(
                "the ledger's database does not wait for the disk (fsync is off), as --durability power needs"
            )

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """See `Backend.write`."""
        with database_errors(), self._begun() as connection:
            raw = driver_connection(connection)
            try:
                yield connection
                if raw.info.transaction_status != TransactionStatus.INTRANS:
                    raise LedgerUnavailable("the ledger could not be written: a statement of the transaction failed")
                raw.commit()
            except BaseException as error:
                _roll_back(connection, raw, error)
                raise

    def _begun(self) -> Connection:
        """Return a connection in a transaction that holds the write lock."""
        self._outage.check()
        began = time.monotonic()
        while True:
            connection = self._writing.connect()
            raw = driver_connection(connection)
            try:
                self._begin(raw)
            except BaseException as error:
                read_only = read_only_cause(raw) if isinstance(error, psycopg.errors.ReadOnlySqlTransaction) else ""
                _roll_back(connection, raw, error)
                lost = connection.invalidated and isinstance(error, psycopg.Error)
                connection.close()
                if lost:
                    self._writing.dispose()  # what was lost for one is lost for all: each would be waited for
                # The idle connection was lost, or is no longer one to the primary: try a new one, but only once, since
                # each attempt may take seconds.
                if lost and time.monotonic() - began < _AT_ONCE_SECONDS:
                    began -= _AT_ONCE_SECONDS
                    continue
                if read_only:
                    raise LedgerUnavailable(f"the ledger is read-only: {read_only}") from error
                raise
            return connection

    def _begin(self, raw: GuardedConnection) -> None:
        """Start a transaction and lock the head of the chain."""
        patience = raw.answer_seconds
        raw.answer_seconds = min(BEGIN_SECONDS, patience)
        try:
            cursor = raw.execute(_BEGIN)
        finally:
            raw.answer_seconds = patience
        cursor.nextset()
        row = cursor.fetchone()
        if self._identity is not None and (row is None or row[0] != self._identity.ledger_id):
            raise LedgerReplaced("the ledger was removed or replaced while it was in use")

    @contextmanager
    def read(self, stop: StopSignal | None = None) -> Iterator[Connection]:
        """See `Backend.read`."""
        try:
            with database_errors(), self._reader() as connection:
                raw = driver_connection(connection)
                raw.stop = stop
                try:
                    if stop is not None and stop.is_set():
                        raise ReadStopped
                    yield connection
                finally:
                    raw.stop = None
                    if raw.closed:
                        connection.invalidate()
                        self._reading.dispose()
        except LedgerUnavailable as error:
            if stop is not None and stop.is_set() and isinstance(driver_error(error.__cause__), _STOPPED):
                raise ReadStopped from error
            raise

    def _reader(self) -> Connection:
        """Return a connection of the engine that reads."""
        self._outage.check()
        return self._reading.connect()

    def check(self) -> None:
        """See `Backend.check`."""
        if self._identity is not None:
            self._outage.look_again()
            with self.read() as connection:
                if store.identity(connection) != self._identity:
                    raise LedgerReplaced("the ledger was removed or replaced while it was in use")

    def check_integrity(self, connection: Connection, *, thorough: bool) -> None:
        """See `Backend.check_integrity`. Reads every row, page by page; `thorough` also compares the schema.

        The structure of indexes is a matter of PostgreSQL's own tools (pg_amcheck).
        """
        newest = store.head(connection).sequence
        for table in metadata.sorted_tables:
            if "sequence" not in table.columns:
                continue
            statement = text(_READ_ROWS.replace("TABLE", table.name))
            for after in range(0, newest, _PAGE):
                connection.execute(statement, {"after": after, "last": after + _PAGE}).all()
        if thorough:
            check_schema(connection)

    def probe(self) -> None:
        """See `Backend.probe`. The free space of the database's disk is not known."""
        self._outage.look_again()
        with self.write() as connection:
            store.probe_write(connection)

    def free_bytes(self) -> int | None:
        """Return None: the disk is that of the database, which does not report it."""
        return None

    def size_bytes(self) -> int:
        """See `Backend.size_bytes`: of the tables and their indexes."""
        with self.read() as connection:
            return int(connection.execute(_SIZE).scalar_one())

    def notify(self) -> None:
        """See `Backend.notify`.

        It is called after the commit rather than in it: a full queue of notifications would make commits fail, and
        PostgreSQL lets commits with notifications wait for each other.
        """
        if self._identity is None:
            return
        try:
            with self._writing.connect() as connection:
                raw = driver_connection(connection)
                patience, raw.answer_seconds = raw.answer_seconds, NOTIFY_SECONDS
                self._notifying_session = raw.info.backend_pid
                try:
                    raw.execute(b"NOTIFY " + channel_of(self._identity.ledger_id).encode())
                finally:
                    raw.answer_seconds = patience
                    if raw.closed:
                        connection.invalidate()
        except (SQLAlchemyError, psycopg.Error) as error:
            self._notify_failures.failed(error, traceback=False, effect="streams lag by up to a second")
        else:
            self._notify_failures.succeeded()

    def listen(self, committed: Callable[[], None]) -> CommitListener | None:
        """See `Backend.listen`."""
        if self._identity is None:
            return None
        channel = channel_of(self._identity.ledger_id)
        return PostgresListener(self._parameters, channel, committed, lambda: self._notifying_session)

    def close(self) -> None:
        """See `Backend.close`."""
        self._writing.dispose()
        self._reading.dispose()


_STOPPED: Final = (psycopg.errors.QueryCanceled, psycopg.OperationalError)


def _roll_back(connection: Connection, raw: GuardedConnection, error: BaseException) -> None:
    """Roll a transaction back; discard the connection if that fails, or if another one may lead to the primary."""
    cause = driver_error(error)
    try:
        if not raw.closed:
            raw.rollback()
    except psycopg.Error:
        pass
    else:
        if not raw.closed and (cause is None or cause.sqlstate != READ_ONLY):
            return
    connection.invalidate()


@contextmanager
def read_only_ledger(url: str) -> Iterator[PostgresBackend]:
    """Open the ledger at a URL to read it, also while servers use it; create nothing.

    Raises:
        InvalidLedgerUrl, LedgerSchemaError, LedgerUnavailable: if it cannot be read as a ledger of this release.
    """
    backend = PostgresBackend(url, answer_seconds=OFFLINE_SECONDS)
    try:
        with backend.read() as connection:
            if is_empty(connection):
                raise LedgerUnavailable("there is no ledger in the database")
            check_schema(connection)
        yield backend
    finally:
        backend.close()
