"""PostgreSQL as the backend of a ledger: any number of processes on any number of machines.

A write locks the one row of `ledger` before it reads, in a transaction whose statements see all earlier commits. So
writers on any machines take turns, in one order. The first process that opens a ledger creates its tables, the others
wait: everything runs in one transaction under an advisory lock, so after a failure the database is unchanged.

A listener has a connection of its own in the event loop. After every (re)connect it reports a commit before any
notification, so that its users read the ledger and miss no commit made while there was no connection.
Decision: docs/decisions/0047-several-servers.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, Final, Self

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from dejavu_common.clock import Backoff
from dejavu_common.failure_log import FailureLog
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import CommitListener, Connection, Durability, StopSignal
from dejavu_ledger.database.postgres_connections import (
    ANSWER_SECONDS,
    GuardedConnection,
    Outage,
    check_session,
    database_errors,
    new_pool,
    read_only_cause,
)
from dejavu_ledger.database.schema import TABLES, check_schema, create_tables, is_empty
from dejavu_ledger.database.store import Identity
from dejavu_ledger.errors import InvalidLedgerUrl, LedgerReplaced, LedgerSchemaError, LedgerUnavailable, ReadStopped
from dejavu_ledger.url import check_ledger_url

_log = structlog.get_logger(__name__)

FIRST_RETRY_SECONDS = 0.25
LONGEST_RETRY_SECONDS = 5.0

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

# Two numbers, to be distinct from other locks of the database: one for this use, one for the ledger's schema.
_CREATION_LOCK: Final = "SELECT pg_advisory_xact_lock(1684367457, hashtext(current_schema()))"

_BEGIN: Final = b"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT ledger_id FROM ledger WHERE id = 1 FOR UPDATE"

_SIZE: Final = """
    SELECT CAST(coalesce(sum(pg_total_relation_size(c.oid)), 0) AS bigint) FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = current_schema() WHERE c.relkind = 'r'
"""

_PAGE: Final = 20_000

_READ_ROWS: Final = "SELECT sum(length(CAST(t AS text))) FROM TABLE t WHERE sequence > :after AND sequence <= :last"


def channel_of(ledger_id: str) -> str:
    """Return the channel of a ledger, an identifier of SQL; `ledger_id` is hexadecimal."""
    return f"dejavu_{int(ledger_id, 16):032x}"


class PostgresListener:
    """Calls a function after every commit of others. Create and close it in the event loop.

    Args:
        parameters: of libpq.
        channel: the channel of the ledger.
        committed: called at every notification except those of this process, and after every connect.
        own_session: returns the process id of the database's session that sends the notifications of this process,
            which knows what it has committed; 0 if there is none.
    """

    def __init__(
        self, parameters: dict[str, Any], channel: str, committed: Callable[[], None], own_session: Callable[[], int]
    ) -> None:
        self._parameters = parameters
        self._channel = channel
        self._committed = committed
        self._own_session = own_session
        self._backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        self._failures = FailureLog(_log, failed="ledger_listener_failing", recovered="ledger_listener_recovered")
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ledger-listener")

    def close(self) -> None:
        """Stop listening."""
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                self._failures.failed(error, traceback=False, effect="streams lag by up to a second; retries")
            await asyncio.sleep(self._backoff.next())

    async def _listen(self) -> None:
        async with await psycopg.AsyncConnection.connect(**self._parameters, autocommit=True) as connection:
            await connection.execute(f"LISTEN {self._channel}".encode())
            self._failures.succeeded()
            self._backoff.reset()
            self._committed()
            async for notification in connection.notifies():
                if notification.pid != self._own_session():
                    self._committed()


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

    OFFLINE_SECONDS: Final = 600.0
    """Time that a command that reads a whole ledger waits for the next part of an answer."""

    def __init__(
        self, url: str, durability: Durability = Durability.PROCESS, *, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._parameters = connection_parameters(url)
        self._durability = durability
        self._outage = Outage()
        new = partial(new_pool, self._parameters, self._outage, answer_seconds=answer_seconds)
        self._writing, self._reading = new(writing=True), new(writing=False)
        self._identity: Identity | None = None
        self._notifying_session = 0
        self._unannounced = FailureLog(
            _log, failed="ledger_announcement_failed", recovered="ledger_announcement_recovered"
        )

    @classmethod
    @contextmanager
    def read_only(cls, url: str) -> Iterator[Self]:
        """Open a ledger to read it; see `backends.read_only_ledger`."""
        with closing(cls(url, answer_seconds=cls.OFFLINE_SECONDS)) as backend:
            with backend.read() as connection:
                if is_empty(connection):
                    raise LedgerUnavailable("there is no ledger in the database")
                check_schema(connection)
            yield backend

    def open(self, *, make: bool) -> None:
        """See `Backend.open`. Creates the tables, not the database or its schema."""
        with database_errors():
            check_session(self._reading)
            with self._writing.connection() as connection:
                self._create(connection, make=make)
        with self.read() as connection:
            self._check_settings(connection)
            self._identity = store.identity(connection)

    def _create(self, connection: Connection, *, make: bool) -> None:
        if sql.value(connection, "SELECT current_schema()") is None:
            raise LedgerSchemaError(
                "the database is not a ledger: the schema that its search_path names does not exist; create it first"
            )
        if not is_empty(connection):
            check_schema(connection)
            return
        if not make:
            raise LedgerUnavailable("the ledger is gone: its tables are missing")
        with connection.driver.transaction():
            # Wait for whoever creates them as long as for any answer; the next statement sees what was committed then.
            sql.rows(connection, "SET LOCAL lock_timeout = 0")
            sql.rows(connection, _CREATION_LOCK)
            if is_empty(connection):
                create_tables(connection)
            check_schema(connection)

    def _check_settings(self, connection: Connection) -> None:
        encoding = sql.value(connection, "SHOW server_encoding")
        if encoding != "UTF8":
            raise LedgerSchemaError(f"the database cannot hold a ledger: its encoding is {encoding}; expected UTF8")
        if self._durability is Durability.POWER and sql.value(connection, "SHOW fsync") != "on":
            raise LedgerUnavailable(
                "the ledger's database does not wait for the disk (fsync is off), as --durability power needs"
            )

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """See `Backend.write`."""
        with database_errors():
            self._outage.check()
            with self._writing.connection() as connection:
                raw = connection.driver
                try:
                    self._begin(raw)
                    yield connection
                    if raw.info.transaction_status != TransactionStatus.INTRANS:
                        raise LedgerUnavailable(
                            "the ledger could not be written: a statement of the transaction failed"
                        )
                    raw.commit()
                except psycopg.errors.ReadOnlySqlTransaction as error:
                    told = read_only_cause(raw)
                    raw.close()  # a new connection may lead to the primary
                    raise LedgerUnavailable(f"the ledger is read-only: {told}") from error
                except BaseException:
                    try:
                        raw.rollback()
                    except psycopg.Error:
                        raw.close()
                    raise

    def _begin(self, raw: GuardedConnection) -> None:
        """Start a transaction and lock the head of the chain."""
        cursor = raw.execute(_BEGIN)
        cursor.nextset()
        row = cursor.fetchone()
        if self._identity is not None and (row is None or row[0] != self._identity.ledger_id):
            raise LedgerReplaced("the ledger was removed or replaced while it was in use")

    @contextmanager
    def read(self, stop: StopSignal | None = None) -> Iterator[Connection]:
        """See `Backend.read`."""
        try:
            with database_errors():
                self._outage.check()
                with self._reading.connection() as connection:
                    raw = connection.driver
                    raw.stop = stop
                    try:
                        if stop is not None and stop.is_set():
                            raise ReadStopped
                        yield connection
                    finally:
                        raw.stop = None
        except LedgerUnavailable as error:
            if stop is not None and stop.is_set():
                raise ReadStopped from error
            raise

    def check(self) -> None:
        """See `Backend.check`."""
        if self._identity is not None:
            self._outage.look_again()
            with self.read() as connection:
                if store.identity(connection) != self._identity:
                    raise LedgerReplaced("the ledger was removed or replaced while it was in use")

    def check_integrity(self, connection: Connection, *, thorough: bool) -> None:
        """See `Backend.check_integrity`. Reads every row, page by page.

        The structure of indexes is a matter of PostgreSQL's own tools (pg_amcheck).
        """
        newest = store.head(connection).sequence
        for table, columns in TABLES.items():
            if next(iter(columns)) == "sequence":
                for after in range(0, newest, _PAGE):
                    sql.rows(connection, _READ_ROWS.replace("TABLE", table), after=after, last=after + _PAGE)

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
            return int(sql.value(connection, _SIZE))

    def notify(self) -> None:
        """See `Backend.notify`.

        It is called after the commit rather than in it: a full queue of notifications would make commits fail, and
        PostgreSQL makes commits with notifications wait for each other.
        """
        if self._identity is None:
            return
        try:
            self._outage.check()
            with self._writing.connection() as connection:
                self._notifying_session = connection.driver.info.backend_pid
                connection.driver.execute(b"NOTIFY " + channel_of(self._identity.ledger_id).encode())
        except psycopg.Error as error:
            effect = "streams of other processes lag by up to a second"
            self._unannounced.failed(error, traceback=False, level=logging.WARNING, effect=effect)
        else:
            self._unannounced.succeeded()

    def listen(self, committed: Callable[[], None]) -> CommitListener | None:
        """See `Backend.listen`."""
        if self._identity is None:
            return None
        channel = channel_of(self._identity.ledger_id)
        return PostgresListener(self._parameters, channel, committed, lambda: self._notifying_session)

    def close(self) -> None:
        """See `Backend.close`."""
        self._writing.clear()
        self._reading.clear()
