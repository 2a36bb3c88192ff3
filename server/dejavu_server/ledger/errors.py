"""What can go wrong with the ledger.

DejavuError
├── LedgerError                  base; its text is fit to be sent to a caller: no SQL, no traceback
│   ├── LedgerUnavailable        cannot be opened, read or written now: locked, full, read-only, gone, closed
│   ├── LedgerCorrupt            the file is damaged, or an entry is not what its hash says
│   ├── LedgerSchemaError        the database was written by a later release, or is not a ledger, or not any more
│   ├── InvalidLedgerUrl         the URL names no database that can hold a ledger
│   └── ResumeTokenExpired       this ledger's token, but what follows its place is not here any more (a FieldError too)
├── OutcomeKnown                 a forecast that would be recorded after what it forecasts was known
└── InvalidInput
    └── InvalidResumeToken       not a token, or that of another ledger
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
    """The ledger cannot be opened, read or written at present; trying again later may help."""

    reason = "LEDGER_UNAVAILABLE"


class LedgerCorrupt(LedgerError):
    """The ledger's file is damaged, or an entry is not what its hash says."""

    reason = "LEDGER_CORRUPT"


class LedgerSchemaError(LedgerError):
    """The database was written by a later release of the server, or holds something else than a ledger."""

    reason = "LEDGER_SCHEMA"


class InvalidLedgerUrl(LedgerError):
    """The URL does not name a database that can hold a ledger."""

    reason = "INVALID_LEDGER_URL"


class ResumeTokenExpired(LedgerError, FieldError):
    """A token of this ledger whose place was pruned or lies past a restore: what follows it cannot be told.

    Args:
        found: the token, and what became of its place.
    """

    reason = "RESUME_TOKEN_EXPIRED"
    default_field = "resume_token"

    def __init__(self, found: str) -> None:
        super().__init__(found, "none, to start anew")


class OutcomeAlreadyRecorded(DejavuError):
    """A new forecast, or a revision, of what is known already: the record keeps none made with hindsight."""

    reason = "OUTCOME_KNOWN"


class InvalidResumeToken(InvalidInput):
    """The resume_token is malformed, or of another ledger."""

    reason = "INVALID_RESUME_TOKEN"
    default_field = "resume_token"


# SQLite's primary result codes (https://www.sqlite.org/rescode.html) in words for a caller.
_CAUSES = {
    sqlite3.SQLITE_BUSY: "locked by another process for too long",
    sqlite3.SQLITE_LOCKED: "locked by another process for too long",
    sqlite3.SQLITE_PROTOCOL: "locked by another process for too long",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_PERM: "not accessible: permission denied",
    sqlite3.SQLITE_AUTH: "not accessible: permission denied",
    sqlite3.SQLITE_IOERR: "not accessible: disk I/O error",
    sqlite3.SQLITE_FULL: "full: no space left on the disk",
    sqlite3.SQLITE_CANTOPEN: "not to be opened: check the path and its permissions",
}
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

# What SQLite says, under the code for whatever is wrong with a statement, when a table or column is not there.
_OTHER_SCHEMA = ("no such table", "no such column", "has no column named")


def primary_code(error: BaseException | None) -> int:
    """SQLite's primary result code of an error; 0 where it has none, as those of the Python driver itself."""
    # The low byte of an extended code is its primary code.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def from_database(error: SQLAlchemyError) -> LedgerError:
    """The ledger's error for one of the database; the original belongs into the log only."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    code, text = primary_code(cause), str(cause)
    if code in _DAMAGE:
        return LedgerCorrupt("the ledger is damaged: its file is not a sound SQLite database")
    if code == sqlite3.SQLITE_CONSTRAINT or "Could not decode to UTF-8" in text:
        # All is decided under the write lock by what was read under it: only damage can contradict that.
        return LedgerCorrupt("the ledger is damaged: its entries contradict each other")
    if code == sqlite3.SQLITE_ERROR and any(words in text for words in _OTHER_SCHEMA):
        return LedgerSchemaError("the database is not a ledger of this release: a table or column is missing")
    if code in _CAUSES:
        return LedgerUnavailable(f"the ledger is {_CAUSES[code]}")
    return LedgerUnavailable("the ledger's database failed")


@contextmanager
def database_errors() -> Iterator[None]:
    """Turns the database's errors into the ledger's; the original stays attached as the cause."""
    try:
        yield
    except SQLAlchemyError as error:
        raise from_database(error) from error


_ErrorT = TypeVar("_ErrorT", bound=DejavuError)


def copy_of(error: _ErrorT) -> _ErrorT:
    """The same error once more, for another caller: raising one adds to its traceback."""
    again = type(error)(str(error))
    again.__cause__ = error.__cause__
    return again
