"""Reads a ledger for a command, whether a server runs on it or not. Nothing is made or migrated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from dejavu_server.ledger.database import migrate, sqlite
from dejavu_server.ledger.errors import LedgerSchemaError, LedgerUnavailable, database_errors


@contextmanager
def read_only_ledger(url: str) -> Iterator[Connection]:
    """A connection that reads the ledger of a URL.

    Raises:
        InvalidLedgerUrl, LedgerSchemaError, LedgerUnavailable: if it cannot be read as a ledger of this release.
        LedgerError: for what the database says in the block.
    """
    path = sqlite.database_path(url)
    if not path.is_file():
        raise LedgerUnavailable(f"there is no ledger at {path}")
    reading = sqlite.reading(path)
    try:
        with database_errors(), reading.connect() as connection:
            if migrate.is_older(connection):
                raise LedgerSchemaError(f"{path} is of an older release: starting the server once migrates it")
            yield connection
    finally:
        reading.dispose()
