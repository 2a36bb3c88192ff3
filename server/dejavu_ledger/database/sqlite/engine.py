"""Connections to the ledger's SQLite database, its path, and its errors as errors of the ledger.

Readers use no transactions: each statement sees the newest commit, and none prevents a WAL checkpoint from completing.
Connections never create the file. A connection is discarded after a failure that may lie in its file: SQLite would keep
the state in which it opened the file, such as read-only, after the disk has recovered.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from dejavu_ledger.database.backend import CACHED_QUERIES, StopSignal
from dejavu_ledger.errors import (
    InvalidLedgerUrl,
    LedgerCorrupt,
    LedgerError,
    LedgerSchemaError,
    LedgerUnavailable,
    ReadStopped,
)
from dejavu_ledger.url import url_hint

BUSY_SECONDS = 2.0
"""Time that a write waits for another process's transaction, which takes milliseconds; less than callers wait."""


STEPS_PER_CHECK = 50_000
"""Steps of SQLite's virtual machine between two checks of the stop signal: a thousand rows, some milliseconds."""

MAX_CONNECTIONS = 8
"""Connections kept open by an engine: one per reader thread of a ledger, and some for other uses."""

CACHED_STATEMENTS = 32
"""Prepared statements that a connection keeps; sqlite3's default is 128, and a ledger has several connections."""

MIN_FREE_BYTES = 1024 * 1024
"""Free space below which a disk counts as full: a batch of forecasts may need this much."""

_DISCARDING_CODES = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
}
"""Result codes after which a new connection may succeed."""

# Messages to callers for SQLite's primary result codes (https://www.sqlite.org/rescode.html).
_CAUSES = {
    sqlite3.SQLITE_BUSY: "locked by another process for too long",
    sqlite3.SQLITE_LOCKED: "locked by another process for too long",
    sqlite3.SQLITE_PROTOCOL: "locked by another process for too long",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_PERM: "not accessible: permission denied",
    sqlite3.SQLITE_AUTH: "not accessible: permission denied",
    sqlite3.SQLITE_IOERR: "not accessible: disk I/O error",
    sqlite3.SQLITE_FULL: "full: no space left on the disk",
    sqlite3.SQLITE_CANTOPEN: "not accessible: check the path and its permissions",
}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

# SQLite's messages for a missing table or column, which share the generic code SQLITE_ERROR.
_OTHER_SCHEMA = ("no such table", "no such column", "has no column named")

_UNSOUND = "the ledger is damaged: its file is not a sound SQLite database"


def database_path(url: str) -> Path:
    """Return the absolute path of the database that a URL names.

    Raises:
        InvalidLedgerUrl: if the URL is not sqlite:///PATH.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidLedgerUrl(f"{url!r} is not a database URL; expected sqlite:///PATH{url_hint(url)}") from None
    name = parsed.database or ""
    if parsed.get_backend_name() != "sqlite" or parsed.query or not name or name == ":memory:":
        raise InvalidLedgerUrl(f"{url!r} cannot hold a ledger; expected sqlite:///PATH")
    try:
        return Path(name).expanduser().resolve()
    except (OSError, RuntimeError) as error:  # unknown home directory, or a cycle of symbolic links
        raise InvalidLedgerUrl(f"{url!r} cannot hold a ledger: {error}") from error


def check_free_space(path: Path) -> None:
    """Raise LedgerUnavailable if the disk of a database has less than MIN_FREE_BYTES left.

    A small test write proves little: it may fit where a larger one did not.
    """
    free = free_bytes(path)
    if free is not None and free < MIN_FREE_BYTES:
        raise LedgerUnavailable("the ledger is full: no space left on the disk")


def file_bytes(path: Path) -> int:
    """Return the size of a file, in bytes; 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def free_bytes(path: Path) -> int | None:
    """Return the bytes that the disk of a database has left for it; None if its file system does not say."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize if disk.f_blocks else None


def reading_engine(path: Path, *, immutable: bool = False) -> Engine:
    """Return an engine that cannot write and that runs each statement on its own, without transactions.

    Args:
        path: the database.
        immutable: whether nothing can change the file. SQLite then neither locks it nor creates files beside it, which
            it otherwise does even to read a database in WAL mode (https://www.sqlite.org/wal.html#readonly).
    """
    return new_engine(path, ["PRAGMA query_only=ON"], access="mode=ro&immutable=1" if immutable else "mode=rw")


def connect(path: Path, access: str) -> sqlite3.Connection:
    """Connect the driver to a database.

    Args:
        path: the database.
        access: how it is opened, as parameters of a URI (https://www.sqlite.org/uri.html).
    """
    return sqlite3.connect(
        f"file:{quote(str(path))}?{access}",
        uri=True,
        timeout=BUSY_SECONDS,
        cached_statements=CACHED_STATEMENTS,
        check_same_thread=False,
    )


def new_engine(path: Path, pragmas: list[str], *, access: str = "mode=rw") -> Engine:
    """Return an engine whose connections never create the file and start no transactions implicitly."""
    engine = create_engine(
        "sqlite:///unused",
        creator=partial(connect, path, access),
        hide_parameters=True,
        pool_size=MAX_CONNECTIONS,
        query_cache_size=CACHED_QUERIES,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _entry: ConnectionPoolEntry) -> None:
        # Stops sqlite3 from starting transactions implicitly; only an explicit BEGIN does.
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(pragma).close()

    @event.listens_for(engine, "handle_error")
    def discard(context: ExceptionContext) -> None:
        if isinstance(context.original_exception, UnicodeDecodeError):
            # SQLite's message names an object of a damaged schema, and the driver cannot read it.
            raise LedgerCorrupt(_UNSOUND) from context.original_exception
        if primary_code(context.original_exception) in _DISCARDING_CODES:
            context.is_disconnect = True

    return engine


def primary_code(error: BaseException | None) -> int:
    """Return SQLite's primary result code of an error; 0 if it has none, like errors of the Python driver itself."""
    # The low byte of an extended result code is the primary code.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def from_database(error: SQLAlchemyError) -> LedgerError:
    """Convert a database error to a ledger error. The original error must only go to the log."""
    return from_driver(error.orig if isinstance(error, DBAPIError) else None)


def from_driver(cause: BaseException | None) -> LedgerError:
    """Convert an error of SQLite's driver to a ledger error; see `from_database`."""
    code, text = primary_code(cause), str(cause)
    if code in _DAMAGE:
        return LedgerCorrupt(_UNSOUND)
    if code == sqlite3.SQLITE_CONSTRAINT or "Could not decode to UTF-8" in text:
        # Writers read under the write lock, so only damage can violate a constraint.
        return LedgerCorrupt("the ledger is damaged: its entries contradict each other")
    if code == sqlite3.SQLITE_ERROR and any(words in text for words in _OTHER_SCHEMA):
        return LedgerSchemaError("the database is not a ledger of this release: a table or column is missing")
    if code in _CAUSES:
        return LedgerUnavailable(f"the ledger is {_CAUSES[code]}")
    return LedgerUnavailable("the ledger's database failed")


@contextmanager
def stopping(connection: Connection, stop: StopSignal) -> Iterator[None]:
    """End the statements of a connection once `stop` is set.

    Raises:
        ReadStopped: if a statement was ended, or would have been started.
    """
    raw = connection.connection.driver_connection
    if raw is None:
        raise ValueError("the connection is closed")
    raw.set_progress_handler(stop.is_set, STEPS_PER_CHECK)
    try:
        if stop.is_set():
            raise ReadStopped
        yield
    except SQLAlchemyError as error:
        cause = error.orig if isinstance(error, DBAPIError) else None
        if stop.is_set() and primary_code(cause) == sqlite3.SQLITE_INTERRUPT:
            raise ReadStopped from error
        raise
    finally:
        with suppress(sqlite3.ProgrammingError):  # closed, after an error that may lie in its file
            raw.set_progress_handler(None, 0)


def discard_after(error: DBAPIError, connection: Connection) -> None:
    """Discard a connection, and idle ones of its pool, after an error that may lie in its file.

    SQLAlchemy does so for the statements that it runs, not for those of `prepared`.
    """
    if primary_code(error.orig) in _DISCARDING_CODES and not connection.invalidated:
        connection.invalidate(error)
        connection.engine.dispose()


@contextmanager
def database_errors() -> Iterator[None]:
    """Convert database errors in the block to ledger errors, with the original as the cause."""
    try:
        yield
    except SQLAlchemyError as error:
        raise from_database(error) from error
