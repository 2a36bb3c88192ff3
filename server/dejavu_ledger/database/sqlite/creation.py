"""Creates the tables of a ledger in SQLite. Safe if several processes do so concurrently."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from dejavu_ledger.database import creation
from dejavu_ledger.database.sqlite.engine import reading_engine
from dejavu_ledger.database.sqlite.schema_check import check_schema
from dejavu_ledger.errors import LedgerUnavailable

_POLL_SECONDS = 0.01


def ensure_schema(engine: Engine, path: Path, *, make: bool = True) -> None:
    """Create the database unless it exists; return quickly if it does.

    Everything runs in one transaction. After a failure the database is unchanged, or an empty file.

    Args:
        engine: an engine that writes to `path`.
        path: the database; its folder exists.
        make: whether to create a ledger if none exists.

    Raises:
        LedgerSchemaError: if the database has another schema, is not a ledger, or has objects that the schema does not
            have.
        LedgerUnavailable: if there is no ledger and `make` is false, or other processes lock the folder for too long.
        OSError: if the folder or the file cannot be used.
        sqlalchemy.exc.SQLAlchemyError: if the database fails.
    """
    # The first connection switches the database to WAL, which needs exclusive access without waiting: hence the lock.
    with _folder_lock(path.parent):
        if make and not path.exists():
            # An empty file is an empty SQLite database. SQLite gives its companion files the same mode.
            path.touch(mode=0o600)
        _check_writable(path, make=make)
        with engine.begin() as connection:
            if creation.is_empty(connection):
                creation.create(connection)
            check_schema(connection)


def _check_writable(path: Path, *, make: bool) -> None:
    """Raise if the database must not be written; check before the switch to WAL, which is itself a write."""
    engine = reading_engine(path)
    try:
        with engine.connect() as connection:
            if creation.is_empty(connection) and not make:
                raise LedgerUnavailable("the ledger is gone: its file is empty")
    finally:
        engine.dispose()


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Lock a folder for one process that prepares ledgers in it. The lock is released if that process dies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline = time.monotonic() + creation.LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LedgerUnavailable("another process has been preparing the ledger for too long") from None
                time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)
