"""Models that each worker of a ledger has loaded, as reported by the workers; not part of the record.

The age of a report is measured by the database's clock, as for leases.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.sql import database_time

REPORT_COUNTS: Final = timedelta(seconds=30)
"""Validity of a report: a worker repeats it every 10 seconds."""

MAX_AGE: Final = timedelta(minutes=10)
"""Age at which the report of a worker that has not been seen again is removed."""

_MICROSECOND: Final = timedelta(microseconds=1)


def report(connection: Connection, server: str, worker: str, state: str, now: int | None = None) -> None:
    """Write the report of a worker in place of its last one; remove reports older than MAX_AGE.

    Args:
        connection: a connection in a transaction that holds the write lock.
        server: the server of the worker.
        worker: the worker.
        state: JSON: models loaded, or failed to load.
        now: time by the database's clock, microseconds since 1970; None: now.
    """
    time = database_time(connection) if now is None else now
    oldest = time - MAX_AGE // _MICROSECOND
    sql.rows(connection, "DELETE FROM model_workers WHERE seen_us < :oldest", oldest=oldest)
    row = {"server": server, "worker": worker, "state": state, "seen_us": time}
    sql.insert(connection, "model_workers", [row], key=("server", "worker"))


def withdraw(connection: Connection, server: str, worker: str) -> None:
    """Remove the report of a worker that stops, in a transaction that holds the write lock."""
    remove = "DELETE FROM model_workers WHERE server = :server AND worker = :worker"
    sql.rows(connection, remove, server=server, worker=worker)


def live(connection: Connection, now: int | None = None) -> list[sql.Row]:
    """Return server, worker and state (JSON) of the reports that count, by server and worker.

    Reports from well in the future do not count: the clock of the database was set back after them.
    """
    time = database_time(connection) if now is None else now
    counts = REPORT_COUNTS // _MICROSECOND
    return sql.rows(connection, _LIVE, after=time - counts, latest=time + counts)


_LIVE: Final = """
    SELECT server, worker, state FROM model_workers
    WHERE seen_us > :after AND seen_us <= :latest ORDER BY server, worker"""
