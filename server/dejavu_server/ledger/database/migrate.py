"""Migrates a database to the schema of this release. Safe if several processes do so concurrently."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, column, inspect, select, table, text

from dejavu_server.ledger.database.schema import REVISION
from dejavu_server.ledger.database.sqlite_engine import reading_engine
from dejavu_server.ledger.database.sqlite_schema import check_schema
from dejavu_server.ledger.entries import scored_values
from dejavu_server.ledger.errors import LedgerCorrupt, LedgerSchemaError, LedgerUnavailable

_log = structlog.get_logger(__name__)

LOCK_SECONDS = 10.0
"""How long to wait for other processes that prepare ledgers in the same folder; each takes a fraction of a second."""

_POLL_SECONDS = 0.01

_VERSIONS = table("alembic_version", column("version_num"))

PAGE_SIZE = 2000
"""Rows per batch, which bounds memory for ledgers of any length."""

_HOUR_US = 3_600_000_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()

_ROWS = (
    "SELECT f.sequence, f.game_id, f.generated_us, e.canonical FROM forecasts f JOIN entries e"
    " ON e.sequence = f.sequence WHERE f.sequence > :after{} ORDER BY f.sequence LIMIT :page"
)
_EVERY_ROW, _TO_FILL = text(_ROWS.format("")), text(_ROWS.format(" AND f.day = 0"))

_FILL = text(
    "UPDATE forecasts SET day = :day, home_team = :home_team, away_team = :away_team, model_version = :model_version,"
    " minute = :minute, alpha = :alpha, confidence = :confidence, replay = :replay, scored_values = :scored_values"
    " WHERE sequence = :sequence"
)


def ensure_schema(engine: Engine, path: Path, *, make: bool = True) -> None:
    """Creates the database or migrates it to the newest schema; returns quickly if it is up to date.

    Everything runs in one transaction. After a failure the database is unchanged, or an empty file.

    Args:
        engine: an engine that writes to `path`.
        path: the database; its folder exists.
        make: whether to create a ledger if none exists.

    Raises:
        LedgerSchemaError: if the database was written by a later release, is not a ledger, or has objects that the
            schema of this release does not have.
        LedgerUnavailable: if there is no ledger and `make` is false, or other processes lock the folder for too long.
        OSError: if the folder or the file cannot be used.
        sqlalchemy.exc.SQLAlchemyError: if the database fails.
    """
    # The first connection switches the database to WAL, which needs exclusive access without waiting: hence the lock.
    with _folder_lock(path.parent):
        if make and not path.exists():
            # An empty file is an empty SQLite database. SQLite gives the files beside it the same mode.
            path.touch(mode=0o600)
        _check_writable(path, make=make)
        with engine.begin() as connection:
            older = is_older(connection)
            before = revision_of(connection) if older else None
            if older:
                from dejavu_server.ledger.database.alembic_runner import upgrade  # noqa: PLC0415 - see there

                upgrade(connection)
            else:
                fill(connection)  # rows that a worker of release 0.1.0 recorded after the migration
            check_schema(connection)  # only now: the schema of an earlier release differs
        if before is not None:
            _log.info("ledger_migrated", path=str(path), before=before, schema=REVISION)


def fill(connection: Connection, *, every: bool = False) -> None:
    """Fills the columns of forecasts that earlier releases did not have, from the entries.

    Call it in a transaction that holds the write lock.

    Args:
        connection: the connection.
        every: whether to fill every row; otherwise those of a worker of release 0.1.0, whose day is 0.

    Raises:
        LedgerCorrupt: if the entry of a row cannot be parsed.
    """
    after = 0
    while rows := connection.execute(_EVERY_ROW if every else _TO_FILL, {"after": after, "page": PAGE_SIZE}).all():
        after = rows[-1].sequence
        connection.execute(_FILL, [_columns(*row) for row in rows])


def _columns(sequence: int, game_id: str, generated_us: int, canonical: str) -> dict[str, Any]:
    try:
        payload = json.loads(canonical)["payload"]
        request, forecast = payload["request"], payload["forecast"]
        home_lead = float(forecast["home_lead_probability"])
        return {
            "sequence": sequence,
            "day": _EPOCH_DAY + (generated_us - 11 * _HOUR_US) // (24 * _HOUR_US),  # see records.game_day
            "home_team": request["home_team"],
            "away_team": request["away_team"],
            "model_version": forecast["model_version"],
            "minute": forecast["elapsed_minutes"],
            "alpha": request["alpha"],
            "confidence": max(home_lead, 1.0 - home_lead),
            "replay": game_id.startswith("99"),
            "scored_values": scored_values.pack(
                forecast["point"],
                request["pattern"][-1],
                (forecast["interval_lower"], forecast["interval_upper"]),
                home_lead,
                forecast.get("distribution", ()),  # not recorded by release 0.1.0
            ),
        }
    except (ValueError, KeyError, TypeError, IndexError, struct.error) as error:
        raise LedgerCorrupt(f"the ledger is damaged: entry {sequence} cannot be read back") from error


def _check_writable(path: Path, *, make: bool) -> None:
    """Raises if the database must not be written; checks before the switch to WAL, which is itself a write."""
    engine = reading_engine(path)
    try:
        with engine.connect() as connection:
            if is_older(connection) and not make and not inspect(connection).get_table_names():
                raise LedgerUnavailable("the ledger is gone: its file is empty")
    finally:
        engine.dispose()


def is_older(connection: Connection) -> bool:
    """Returns whether the database has an older schema than this release, or no schema yet.

    Raises:
        LedgerSchemaError: if the schema is newer or unknown, or the database is not a ledger.
    """
    revision = revision_of(connection)
    if revision is None:
        if not inspect(connection).get_table_names():
            return True
        revision = revision_of(connection)  # in PostgreSQL, another process may have made the ledger in between
        if revision is None:
            raise LedgerSchemaError("the database is not a ledger: it contains other tables")
    if revision == REVISION:
        return False
    from dejavu_server.ledger.database.alembic_runner import revisions  # noqa: PLC0415 - see there

    if revision not in revisions():
        raise LedgerSchemaError(
            f"the database has schema {revision!r}, which this release does not know; it knows up to {REVISION!r}"
        )
    return True


def revision_of(connection: Connection) -> str | None:
    """Returns the revision id stored in a database; None if there is none."""
    if not inspect(connection).has_table(_VERSIONS.name):
        return None
    revision: str | None = connection.execute(select(_VERSIONS.c.version_num)).scalar()
    return revision


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Locks a folder for one process that prepares ledgers in it. The lock is released if that process dies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline = time.monotonic() + LOCK_SECONDS
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
