"""Read-only access to a ledger for commands, also while a server uses it. Creates and migrates nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from dejavu_server.ledger.database import migrate, sqlite
from dejavu_server.ledger.errors import LedgerSchemaError, LedgerUnavailable, database_errors


@contextmanager
def read_only_ledger(url: str) -> Iterator[Connection]:
    """Yields a read-only connection to the ledger at a URL.

    Raises:
        InvalidLedgerUrl, LedgerSchemaError, LedgerUnavailable: if it cannot be read as a ledger of this release.
        LedgerError: for database errors in the block.
    """
    path = sqlite.database_path(url)
    if not path.is_file():
        raise LedgerUnavailable(f"there is no ledger at {path}")
    reading = sqlite.reading_engine(path)
    try:
        with database_errors(), reading.connect() as connection:
            if migrate.is_older(connection):
                raise LedgerSchemaError(f"{path} is of an older release: starting the server once migrates it")
            yield connection
    finally:
        reading.dispose()
