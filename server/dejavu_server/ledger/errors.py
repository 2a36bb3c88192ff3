"""Errors of the ledger.

DejavuError
├── LedgerError                  base; its message can be sent to callers: no SQL, no traceback
│   ├── LedgerUnavailable        cannot be opened, read or written now: locked, full, read-only, gone, closed
│   ├── LedgerCorrupt            the file is damaged, or an entry does not match its hash
│   ├── LedgerSchemaError        the database was written by a later release, or is not (or no longer) a ledger
│   ├── InvalidLedgerUrl         the URL does not name a database that can hold a ledger
│   └── ResumeTokenExpired       token of this ledger whose following entries are gone (also a FieldError)
├── OutcomeAlreadyRecorded       a forecast that would be recorded after its outcome was known
└── InvalidInput
    └── InvalidResumeToken       not a token, or a token of another ledger
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from dejavu_models.errors import DejavuError, FieldError, InvalidInput


class LedgerError(DejavuError):
    """Base of the ledger's errors."""

    reason = "LEDGER_ERROR"


class LedgerUnavailable(LedgerError):
    """The ledger cannot be opened, read or written at the moment; retrying later may help."""

    reason = "LEDGER_UNAVAILABLE"


class LedgerCorrupt(LedgerError):
    """The ledger's file is damaged, or an entry does not match its hash."""

    reason = "LEDGER_CORRUPT"


class LedgerSchemaError(LedgerError):
    """The database was written by a later release of the server, or is not a ledger."""

    reason = "LEDGER_SCHEMA"


class InvalidLedgerUrl(LedgerError):
    """The URL does not name a database that can hold a ledger."""

    reason = "INVALID_LEDGER_URL"


class ResumeTokenExpired(LedgerError, FieldError):
    """A token of this ledger from which no stream can resume: later entries were pruned, or the ledger was restored.

    Args:
        found: the token, and why it expired.
    """

    reason = "RESUME_TOKEN_EXPIRED"
    default_field = "resume_token"

    def __init__(self, found: str) -> None:
        super().__init__(found, "no token, to start a new stream")


class OutcomeAlreadyRecorded(DejavuError):
    """A new forecast or revision whose outcome is known already: the ledger records none with hindsight."""

    reason = "OUTCOME_KNOWN"


class InvalidResumeToken(InvalidInput):
    """The resume_token is malformed or belongs to another ledger."""

    reason = "INVALID_RESUME_TOKEN"
    default_field = "resume_token"


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


_ErrorT = TypeVar("_ErrorT", bound=DejavuError)


def copy_of(error: _ErrorT) -> _ErrorT:
    """Returns a copy of an error for another caller, because raising an error extends its traceback."""
    copy = type(error)(str(error))
    copy.__cause__ = error.__cause__
    return copy
