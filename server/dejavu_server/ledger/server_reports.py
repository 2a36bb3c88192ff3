"""What each server of a ledger did lately: reports that expire, and no part of the record.

A server writes a few kB every REPORT_SECONDS, whichever of its workers finds that it is time. One clock decides how old
a report is: that of the database, as for leases.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select, update

from dejavu_server.ledger.database.schema import server_reports
from dejavu_server.ledger.leases import database_time

REPORT_SECONDS: Final = 10.0
"""Time after which a server reports again."""

REPORT_COUNTS: Final = timedelta(seconds=30)
"""How long a report counts; then the next one of any server removes it."""

MAX_SERVERS: Final = 64
"""Most servers whose reports are kept."""

_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What a server reported.

    Attributes:
        server: identifies the run of the server.
        state: what it did, as reported.
        seen: when, in microseconds since 1970 by the database's clock: another report has another time.
        age: how long ago, when it was read.
    """

    server: str
    state: bytes
    seen: int
    age: timedelta


def report(connection: Connection, server: str, state: bytes, now: int | None = None) -> bool:
    """Writes the report of a server in place of its last one, and removes those that do not count any more.

    Writes nothing if the last one is younger than REPORT_SECONDS, as another worker of the server wrote it, or if
    MAX_SERVERS others have a report.

    Args:
        connection: a connection in a transaction that holds the write lock.
        server: identifies the run of the server.
        state: what it did.
        now: time by the database's clock, microseconds since 1970; None: now.

    Returns:
        Whether the server has a report.
    """
    time = database_time(connection) if now is None else now
    counts = REPORT_COUNTS // _MICROSECOND
    seen = server_reports.c.seen_us
    # A report of the future is of before the database's clock was set back.
    connection.execute(delete(server_reports).where((seen <= time - counts) | (seen > time + counts)))
    is_own = server_reports.c.server == server
    last = connection.execute(select(seen).where(is_own)).scalar_one_or_none()
    if last is not None:
        if time - last >= REPORT_SECONDS * 1e6 or last > time:
            connection.execute(update(server_reports).where(is_own).values(state=state, seen_us=time))
        return True
    if connection.execute(select(func.count()).select_from(server_reports)).scalar_one() >= MAX_SERVERS:
        return False
    connection.execute(insert(server_reports).values(server=server, state=state, seen_us=time))
    return True


def live(connection: Connection, now: int | None = None) -> list[ServerReport]:
    """Returns the reports that count, by server."""
    time = database_time(connection) if now is None else now
    counts = REPORT_COUNTS // _MICROSECOND
    seen = server_reports.c.seen_us
    rows = connection.execute(
        select(server_reports).where(seen > time - counts, seen <= time + counts).order_by(server_reports.c.server)
    )
    return [
        ServerReport(row.server, row.state, row.seen_us, timedelta(microseconds=max(time - row.seen_us, 0)))
        for row in rows
    ]
