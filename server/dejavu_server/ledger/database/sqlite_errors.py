"""SQLite's errors as errors of the ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from dejavu_server.ledger.errors import LedgerCorrupt, LedgerError, LedgerSchemaError, LedgerUnavailable

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


def primary_code(error: BaseException | None) -> int:
    """Returns SQLite's primary result code of an error; 0 if it has none, as errors of the Python driver itself."""
    # The low byte of an extended result code is the primary code.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def from_database(error: SQLAlchemyError) -> LedgerError:
    """Converts a database error to a ledger error. The original error must only go to the log."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    code, text = primary_code(cause), str(cause)
    if code in _DAMAGE:
        return LedgerCorrupt("the ledger is damaged: its file is not a sound SQLite database")
    if code == sqlite3.SQLITE_CONSTRAINT or "Could not decode to UTF-8" in text:
        # Writers decide on what they read under the write lock, so only damage can violate a constraint.
        return LedgerCorrupt("the ledger is damaged: its entries contradict each other")
    if code == sqlite3.SQLITE_ERROR and any(words in text for words in _OTHER_SCHEMA):
        return LedgerSchemaError("the database is not a ledger of this release: a table or column is missing")
    if code in _CAUSES:
        return LedgerUnavailable(f"the ledger is {_CAUSES[code]}")
    return LedgerUnavailable("the ledger's database failed")


@contextmanager
def database_errors() -> Iterator[None]:
    """Converts database errors in the block to ledger errors, with the original as the cause."""
    try:
        yield
    except SQLAlchemyError as error:
        raise from_database(error) from error
