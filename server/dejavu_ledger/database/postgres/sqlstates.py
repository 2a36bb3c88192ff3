"""Errors of PostgreSQL as errors of the ledger, by their SQLSTATE codes.

Messages go to callers: they name no host, no user and no statement. The original error only goes to the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from dejavu_ledger.errors import LedgerCorrupt, LedgerError, LedgerSchemaError, LedgerUnavailable

READ_ONLY: Final = "25006"

# By code or by class, the first two characters of a code (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_UNAVAILABLE: Final = {
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
}
_CORRUPT: Final = {
    "XX001": "a page of its database is damaged",
    "XX002": "an index of its database is damaged",
    "58P01": "a file of its database is missing",
    # Writers read under the write lock, so only damage can violate a constraint.
    "23": "its entries contradict each other",
    # Values that are invalid as text: not UTF-8, or not JSON.
    "22021": "its entries cannot be read back",
    "22P02": "its entries cannot be read back",
    "22P05": "its entries cannot be read back",
}
_SCHEMA: Final = {
    "42P01": "a table or column is missing",
    "42703": "a table or column is missing",
    "42883": "a function is missing, or a column has another type",
    "3F000": "the schema of its tables (search_path) does not exist",
}
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
    code = cause.sqlstate or _refusal(cause)
    if told := _lookup(_CORRUPT, code):
        return LedgerCorrupt(f"the ledger is damaged: {told}")
    if told := _lookup(_SCHEMA, code):
        return LedgerSchemaError(f"the database is not a ledger of this release: {told}")
    if told := _lookup(_UNAVAILABLE, code):
        return LedgerUnavailable(f"the ledger is {told}")
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


def _lookup(messages: dict[str, str], code: str) -> str | None:
    return next((messages[code[:length]] for length in (5, 3, 2) if code[:length] in messages), None)


def _refusal(cause: psycopg.Error) -> str:
    text = str(cause)
    return next((code for words, code in _REFUSALS.items() if words in text), "")
