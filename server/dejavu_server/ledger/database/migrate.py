"""Brings a database to the schema that this release knows, whoever else is doing the same at the moment."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from sqlalchemy import Connection, Engine, column, inspect, select, table

from dejavu_server.ledger.database.backfill import backfill
from dejavu_server.ledger.database.schema import REVISION, forecasts
from dejavu_server.ledger.database.sqlite import reading
from dejavu_server.ledger.errors import LedgerSchemaError, LedgerUnavailable

_log = structlog.get_logger(__name__)

LOCK_SECONDS = 10.0
"""How long to wait while other processes prepare ledgers in the same folder, each of which takes a fraction of one."""

_LOOK_SECONDS = 0.01

_VERSIONS = table("alembic_version", column("version_num"))

_UNFILLED = select(forecasts.c.sequence).where(forecasts.c.day == 0).limit(1)


def ensure_schema(engine: Engine, path: Path, *, make: bool = True) -> None:
    """Creates the database or migrates it to the newest schema; at once where there is nothing to do.

    All in one transaction: whatever fails, the database is then what it was, or an empty file.

    Args:
        engine: an engine that writes to `path`.
        path: the database; its folder exists.
        make: whether to make a ledger where there is none.

    Raises:
        LedgerSchemaError: if the database was written by a later release, or is not a ledger.
        LedgerUnavailable: if there is no ledger and none is to be made, or others hold the folder for too long.
        OSError: if the folder or the file can't be used.
        sqlalchemy.exc.SQLAlchemyError: if the database fails.
    """
    # The first connection switches the database to WAL, which needs it alone and can't wait for that: hence the lock.
    with _folder_lock(path.parent):
        if make and not path.exists():
            path.touch()  # to SQLite an empty file is an empty database
        _current_revision(path, make=make)
        with engine.begin() as connection:
            older = is_older(connection)
            before = _revision(connection) if older else None
            if older:
                from dejavu_server.ledger.database.alembic_runner import upgrade  # noqa: PLC0415 - see there

                upgrade(connection)
            else:
                backfill_late_rows(connection)
        if before is not None:
            _log.info("ledger_migrated", path=str(path), before=before, schema=REVISION)


def backfill_late_rows(connection: Connection) -> None:
    """Indexes what was recorded after the migration, by a worker that still ran the release before.

    Args:
        connection: in a transaction that holds the write lock.

    Raises:
        LedgerCorrupt: if the entry of such a forecast cannot be read.
    """
    if connection.execute(_UNFILLED).first() is not None:
        backfill(connection)


def _current_revision(path: Path, *, make: bool) -> None:
    """Refuses what is not to be touched before anything is written: to switch it to WAL would be to write."""
    looking = reading(path)
    try:
        with looking.connect() as connection:
            if is_older(connection) and not make and not inspect(connection).get_table_names():
                raise LedgerUnavailable("the ledger is gone: an empty file lies in its place")
    finally:
        looking.dispose()


def is_older(connection: Connection) -> bool:
    """Whether the database has an older schema than this release writes, or none at all yet.

    Raises:
        LedgerSchemaError: if it is neither older nor of this release.
    """
    found = _revision(connection)
    if found == REVISION:
        return False
    if found is None:
        if inspect(connection).get_table_names():
            raise LedgerSchemaError("the database is not a ledger: it holds tables of something else")
        return True
    from dejavu_server.ledger.database.alembic_runner import revisions  # noqa: PLC0415 - see there

    if found not in revisions():
        raise LedgerSchemaError(
            f"the database has schema {found!r}, which this release does not know; it knows up to {REVISION!r}"
        )
    return True


def _revision(connection: Connection) -> str | None:
    """The migration that a database names as its last; None if it names none."""
    if not inspect(connection).has_table(_VERSIONS.name):
        return None
    found: str | None = connection.execute(select(_VERSIONS.c.version_num)).scalar()
    return found


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Lets one process at a time prepare ledgers in a folder; the lock ends with the process that holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    until = time.monotonic() + LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise LedgerUnavailable("the ledger is being prepared by another process for too long") from None
                time.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)
