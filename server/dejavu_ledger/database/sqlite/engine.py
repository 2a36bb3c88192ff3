"""Connections to the ledger's SQLite database, its path, and its errors as errors of the ledger.

Readers use no transactions: each statement sees the newest commit, and none prevents a WAL checkpoint from completing.
Connections never create the file. A connection is discarded after a failure that may lie in its file: SQLite would keep
the state in which it opened the file, such as read-only, after the disk has recovered.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from dejavu_ledger.database.backend import Connection, StopSignal
from dejavu_ledger.errors import (
    InvalidLedgerUrl,
    LedgerCorrupt,
    LedgerError,
    LedgerSchemaError,
    LedgerUnavailable,
    ReadStopped,
)
from dejavu_ledger.url import check_ledger_url

BUSY_SECONDS = 2.0
"""Time that a write waits for another process's transaction, which takes milliseconds; less than callers wait."""


STEPS_PER_CHECK = 50_000
"""Steps of SQLite's virtual machine between two checks of the stop signal: a thousand rows, some milliseconds."""

MAX_CONNECTIONS: Final = 8
"""Idle connections that are kept: one per reader thread of a ledger, and some for other uses."""

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
        InvalidLedgerUrl: if the URL is not sqlite:///PATH, or has no absolute path.
    """
    try:
        return Path(unquote(check_ledger_url(url).removeprefix("sqlite:///"))).expanduser().resolve()
    except ValueError as error:
        raise InvalidLedgerUrl(str(error)) from None
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


def connect(path: Path, access: str = "mode=rw", *pragmas: str) -> sqlite3.Connection:
    """Connect the driver to a database, without creating it; no transaction starts but by BEGIN.

    Args:
        path: the database.
        access: how it is opened, as parameters of a URI (https://www.sqlite.org/uri.html).
        *pragmas: settings of the connection.
    """
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{access}",
        uri=True,
        timeout=BUSY_SECONDS,
        cached_statements=CACHED_STATEMENTS,
        check_same_thread=False,
        isolation_level=None,
    )
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()
    except BaseException:
        connection.close()
        raise
    return connection


def primary_code(error: BaseException | None) -> int:
    """Return SQLite's primary result code of an error; 0 if it has none, like errors of the Python driver itself."""
    # The low byte of an extended result code is the primary code.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_spoiled(error: BaseException) -> bool:
    """Return whether a new connection may succeed after an error."""
    return primary_code(error) in _DISCARDING_CODES


def from_driver(cause: BaseException) -> LedgerError:
    """Convert an error of SQLite's driver to a ledger error. The original error must only go to the log."""
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
    connection.driver.set_progress_handler(stop.is_set, STEPS_PER_CHECK)
    try:
        if stop.is_set():
            raise ReadStopped
        yield
    except sqlite3.Error as error:
        if stop.is_set() and primary_code(error) == sqlite3.SQLITE_INTERRUPT:
            raise ReadStopped from error
        raise
    finally:
        connection.driver.set_progress_handler(None, 0)


@contextmanager
def database_errors() -> Iterator[None]:
    """Convert errors of the driver in the block to ledger errors, with the original as the cause."""
    try:
        yield
    except sqlite3.Error as error:
        raise from_driver(error) from error
    except UnicodeDecodeError as error:
        # SQLite's message names an object of a damaged schema, and the driver cannot read it.
        raise LedgerCorrupt(_UNSOUND) from error
