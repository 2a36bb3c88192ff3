"""Models that each worker of a ledger has loaded, as reported by the workers; not part of the record.

The age of a report is measured by the database's clock, as for leases.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from dejavu_ledger.database.schema import model_workers
from dejavu_ledger.database_clock import database_time

REPORT_COUNTS: Final = timedelta(seconds=30)
"""Validity of a report: a worker repeats it every 10 seconds."""

MAX_AGE: Final = timedelta(minutes=10)
"""Age at which the report of a worker that has not been seen again is removed."""

_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """Report of a worker.

    Attributes:
        server, worker: names of the server and of its worker.
        state: JSON, as reported.
        age: age when it was read.
    """

    server: str
    worker: str
    state: str
    age: timedelta


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
    connection.execute(delete(model_workers).where(model_workers.c.seen_us < time - MAX_AGE // _MICROSECOND))
    values = {"state": state, "seen_us": time}
    written = connection.execute(update(model_workers).where(_is(server, worker)).values(values))
    if written.rowcount == 0:
        connection.execute(insert(model_workers).values(server=server, worker=worker, **values))


def withdraw(connection: Connection, server: str, worker: str) -> None:
    """Remove the report of a worker that stops, in a transaction that holds the write lock."""
    connection.execute(delete(model_workers).where(_is(server, worker)))


def live(connection: Connection, now: int | None = None) -> list[WorkerReport]:
    """Return the reports that count, by server and worker.

    Reports from well in the future do not count: the clock of the database was set back after them.
    """
    time = database_time(connection) if now is None else now
    rows = connection.execute(
        select(model_workers)
        .where(model_workers.c.seen_us > time - REPORT_COUNTS // _MICROSECOND)
        .where(model_workers.c.seen_us <= time + REPORT_COUNTS // _MICROSECOND)
        .order_by(model_workers.c.server, model_workers.c.worker)
    )
    return [
        WorkerReport(row.server, row.worker, row.state, timedelta(microseconds=max(time - row.seen_us, 0)))
        for row in rows
    ]


def _is(server: str, worker: str) -> ColumnElement[bool]:
    return (model_workers.c.server == server) & (model_workers.c.worker == worker)
