"""Connections to a PostgreSQL database that never wait indefinitely, and its errors as errors of the ledger.

The server limits statements and the wait for locks. A server that is stopped or cut off cannot, so a connection has
timeouts of its own. Connections of readers commit each statement separately and cannot write.

Messages of errors go to callers: they name no host, no user and no statement. The original error only goes to the log.
"""

from __future__ import annotations

import select
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from uuid import uuid4

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from dejavu_common.activity import waiting_outside
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection, Pool, StopSignal
from dejavu_ledger.errors import LedgerCorrupt, LedgerError, LedgerSchemaError, LedgerUnavailable

LOCK_SECONDS: Final = 1.5
"""Time that a write waits for another process's transaction, which takes milliseconds; less than callers wait."""

ANSWER_SECONDS: Final = 4.0
"""Time that a connection waits for the next part of an answer; less than a thread may hang (`hang_seconds`)."""

OUTAGE_SECONDS: Final = 60.0
"""Time after which a caller waits again for a database that does not answer, where no probe has looked since."""

CANCEL_SECONDS: Final = 1.0
"""Time to end a statement; then its connection is closed."""

OLDEST_RELEASE: Final = 14
"""Oldest major release of PostgreSQL that is supported."""

_CHECK_SECONDS: Final = 0.005
_SETTINGS: Final = (
    f"SET lock_timeout = {LOCK_SECONDS * 1000:.0f}; SET jit = off; SET client_connection_check_interval = 1000;"
    " SET default_transaction_isolation = 'read committed'; SET standard_conforming_strings = on;"
)
# Commits wait for the log to be written: with `off`, killing the database would lose answered calls.
_WRITING: Final = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';"
    # Ends the session of a machine that vanished while it held the write lock.
    " SET idle_in_transaction_session_timeout = 5000;"
)
_READING: Final = "SET default_transaction_read_only = on; SET idle_in_transaction_session_timeout = 60000;"

_SET_MARK: Final = "SELECT set_config('dejavu.session', :mark, false)"
_MARK: Final = "SELECT current_setting('dejavu.session', true)"

_RV = TypeVar("_RV")

# Errors, how their messages begin, and how they go on: by code or by class, the first two characters of a code
# (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_CAUSES: Final[list[tuple[type[LedgerError], str, Mapping[str, str]]]] = [
    (
        LedgerCorrupt,
        "the ledger is damaged: ",
        {
            "XX001": "a page of its database is damaged",
            "XX002": "an index of its database is damaged",
            "58P01": "a file of its database is missing",
            # Writers read under the write lock, so only damage can violate a constraint.
            "23": "its entries contradict each other",
            # Values that are invalid as text: not UTF-8, or not JSON.
            "22021": "its entries cannot be read back",
            "22P02": "its entries cannot be read back",
            "22P05": "its entries cannot be read back",
        },
    ),
    (
        LedgerSchemaError,
        "the database is not a ledger of this release: ",
        {
            "42P01": "a table or column is missing",
            "42703": "a table or column is missing",
            "42883": "a function is missing, or a column has another type",
            "3F000": "the schema of its tables (search_path) does not exist",
        },
    ),
    (
        LedgerUnavailable,
        "the ledger is ",
        {
            "08": "not reachable: the connection to its database was lost",
            "25006": "read-only: its database is a standby, or does not accept writes; is the primary down?",
            "25P03": "not reachable: the connection to its database was lost",
            "28": "not accessible: its database refused the login",
            "3D000": "not accessible: there is no such database",
            "40": "busy: its database rolled the transaction back",
            "42501": "not accessible: permission denied",
            "53100": "full: no space left on the disk of its database",
            "53200": "not usable: its database is out of memory",
            "53300": "not reachable: its database has no free connection",
            "55P03": "locked by another process for too long",
            "57014": "not usable: its database took too long",
            "57P": "not reachable: its database is being stopped or started",
            "58030": "not accessible: disk I/O error of its database",
        },
    ),
]
# A refused connection has no code, only the server's message, which may be in another language.
_REFUSALS: Final = {
    "too many clients": "53300",
    "remaining connection slots": "53300",
    "too many connections": "53300",
    "password authentication failed": "28",
    "no password supplied": "28",
    "pg_hba.conf": "28",
    "does not exist": "3D000",
    "is starting up": "57P",
    "is shutting down": "57P",
    "is in recovery mode": "57P",
    "read-only": "25006",
    "in hot standby mode": "25006",
}


def from_driver(cause: psycopg.Error) -> LedgerError:
    """Convert an error of the driver to a ledger error. The original error must only go to the log."""
    code = cause.sqlstate or next((code for words, code in _REFUSALS.items() if words in str(cause)), "")
    for error, begin, causes in _CAUSES:
        for told in (causes[code[:length]] for length in (5, 3, 2) if code[:length] in causes):
            return error(begin + told)
    if isinstance(cause, psycopg.OperationalError) and not code:
        return LedgerUnavailable("the ledger is not reachable: its database does not answer")
    return LedgerUnavailable("the ledger's database failed")


@contextmanager
def database_errors() -> Iterator[None]:
    """Convert errors of the driver in the block to ledger errors, with the original as the cause.

    Raises:
        LedgerError: the ledger error.
        ValueError: if the driver itself refused a value. The value came from a call, so this says nothing about the
            ledger.
    """
    try:
        yield
    except psycopg.Error as error:
        if isinstance(error, psycopg.DataError) and error.sqlstate is None:
            raise ValueError("a value cannot be stored: text in PostgreSQL cannot contain NUL") from error
        raise from_driver(error) from error


def read_only_cause(connection: psycopg.Connection[Any]) -> str:
    """Return why a connection that was refused a write cannot write, by what its server reports (PostgreSQL 14)."""
    if connection.pgconn.parameter_status(b"in_hot_standby") == b"on":
        return "its database is a standby; expected the primary"
    if connection.pgconn.parameter_status(b"default_transaction_read_only") == b"on":
        return "its database or its role has default_transaction_read_only; expected off"
    return "its database does not accept writes"


class Outage:
    """Knows whether the database hangs, so that not every call waits to find it out; thread-safe.

    While it hangs, probes wait for it, or one caller if there was none for OUTAGE_SECONDS; others are refused at once.
    """

    def __init__(self) -> None:
        self._next = 0.0  # when the next caller may wait; 0 while the database answers

    def began(self, seconds: float = OUTAGE_SECONDS) -> psycopg.OperationalError:
        """Note that the database did not answer in time; return the error.

        Args:
            seconds: time for which no further caller waits.
        """
        self._next = time.monotonic() + seconds
        return psycopg.OperationalError("the server does not answer")

    def ended(self) -> None:
        """Note that the database answered."""
        self._next = 0.0

    def look_again(self) -> None:
        """Let the next caller wait for the database; called by a probe."""
        self._next = min(self._next, time.monotonic())

    def check(self) -> None:
        """Return if this caller may wait for the database.

        Raises:
            psycopg.OperationalError: if it hangs, and another caller waits or has done so lately.
        """
        if time.monotonic() < self._next:
            raise psycopg.OperationalError("the server does not answer")
        if self._next:
            self.began()  # until this caller knows, for the others


class GuardedConnection(psycopg.Connection[Any]):
    """A connection that can be stopped, and that closes itself if the server does not answer.

    Attributes:
        answer_seconds: time that it waits for the next part of an answer.
        stop: ends the running statement once it is set; None if nothing does.
        outage: notes whether the server answers.
    """

    answer_seconds: float = ANSWER_SECONDS
    stop: StopSignal | None = None
    outage: Outage = Outage()

    def wait(self, gen: PQGen[_RV], interval: float = 0.1, timeout: float | None = None) -> _RV:
        """Wait for the events of a psycopg generator; see `psycopg.Connection.wait`.

        The wait has a limit of its own, so a hanging database does not make this thread count as hung.

        Raises:
            psycopg.errors.QueryCanceled: if `stop` is set.
            psycopg.OperationalError: if the server does not answer; the connection is then closed.
        """
        shortest = _CHECK_SECONDS if self.stop is not None else interval
        with waiting_outside():
            return super().wait(self._guarded(gen), shortest, timeout)

    def _guarded(self, gen: PQGen[_RV]) -> Generator[Any, Any, _RV]:
        """Pass on the events of a generator, and check the clock and `stop` while it waits."""
        stop = self.stop
        # After a failed statement only the rollback runs.
        if stop is not None and self.pgconn.transaction_status != TransactionStatus.INERROR and stop.is_set():
            raise psycopg.errors.QueryCanceled("told to stop")
        checked = heard = time.monotonic()
        patience = self.answer_seconds
        try:
            waits_for = next(gen)
            while True:
                ready = yield waits_for
                now = time.monotonic()
                if ready:
                    heard = now
                elif now - heard > patience:
                    self.close()
                    raise self.outage.began(0.0)  # perhaps only this connection: the next caller tries a new one
                if stop is not None and now - checked > _CHECK_SECONDS:
                    if stop.is_set():
                        stop, patience = None, CANCEL_SECONDS
                        self._end_statement()
                    checked = time.monotonic()
                waits_for = gen.send(ready)
        except StopIteration as ended:
            self.outage.ended()
            result: _RV = ended.value
            return result

    def _end_statement(self) -> None:
        try:
            self.cancel_safe(timeout=CANCEL_SECONDS)
        except psycopg.Error:
            self.close()
            raise psycopg.errors.QueryCanceled("told to stop") from None


class _PostgresConnection(Connection):
    """A connection whose end is noticed while it is idle, so that no call fails after a restart of the server."""

    @property
    def closed(self) -> bool:
        """See `Connection.closed`. What the server sends on its own is the end."""
        if self.driver.closed:
            return True
        poll = select.poll()
        poll.register(self.driver.fileno(), select.POLLIN)
        return bool(poll.poll(0))


def new_pool(
    parameters: dict[str, Any], outage: Outage, *, writing: bool, answer_seconds: float = ANSWER_SECONDS
) -> Pool[Connection]:
    """Return a pool whose connections start no transactions implicitly.

    Args:
        parameters: of libpq.
        outage: of the database.
        writing: whether its connections write.
        answer_seconds: time that they wait for the next part of an answer.
    """
    # The server ends a statement a little earlier, so that the connection survives.
    limit = f"SET statement_timeout = {answer_seconds * 900:.0f};"

    def connect() -> Connection:
        with waiting_outside():  # names are looked up without a timeout, and each of their addresses is tried
            try:
                connection = GuardedConnection.connect(**parameters, autocommit=True)
            except psycopg.errors.ConnectionTimeout as error:
                raise outage.began() from error
            except psycopg.Error:
                outage.ended()  # it is not there, or refuses: that takes no time
                raise
        try:
            connection.outage = outage
            connection.answer_seconds = answer_seconds
            if connection.info.server_version < OLDEST_RELEASE * 10_000:
                raise LedgerUnavailable(
                    f"the ledger's database is PostgreSQL {connection.info.server_version // 10_000}; expected "
                    f"{OLDEST_RELEASE} or newer"
                )
            connection.execute(f"{_SETTINGS} {limit} {_WRITING if writing else _READING}")
        except BaseException:
            connection.close()
            raise
        return _PostgresConnection("postgresql", connection)

    return Pool(connect)


def check_session(pool: Pool[Connection]) -> None:
    """Check that a connection has a session of its own: a pooler may give sessions to single transactions.

    Without one, settings of a session, notifications and the guard of timeouts are lost or another's, unnoticed.

    Raises:
        LedgerUnavailable: if a value that one connection sets is seen by another one, or not by itself.
    """
    mark = uuid4().hex
    with pool.connection() as first, pool.connection() as second:
        sql.rows(first, _SET_MARK, mark=mark)
        shared = sql.value(second, _MARK) == mark  # poolers give away first what was given back last
        kept = not shared and sql.value(first, _MARK) == mark
    if not kept:
        raise LedgerUnavailable(
            "the ledger's database is behind a pooler that gives a session to one transaction after the other, such as "
            "PgBouncer with pool_mode = transaction; expected pool_mode = session, or the database itself"
        )
