"""The clock of the ledger's database: what servers compare their own with, and what side state goes by."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from dejavu_common.clock import microseconds
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.errors import LedgerClockDiffers

MOST_APART: Final = timedelta(minutes=2)
"""Difference of the clocks beyond which a server records nothing: entries have the times of servers."""

_NOW: Final = {
    "sqlite": "SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    "postgresql": "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
}


def database_time(connection: Connection) -> int:
    """Return the time by the database's clock (for SQLite, the machine's), in microseconds since 1970, UTC."""
    return int(sql.value(connection, _NOW[connection.dialect]))


def check_clock(connection: Connection, now: datetime) -> timedelta:
    """Return how far a server's clock is ahead of that of the database; negative: behind.

    Args:
        connection: a connection.
        now: the time of the server, aware.

    Raises:
        LedgerClockDiffers: if they are more than MOST_APART.
    """
    ahead = timedelta(microseconds=microseconds(now) - database_time(connection))
    if abs(ahead) > MOST_APART:
        raise clock_differs(ahead)
    return ahead


def clock_differs(ahead: timedelta) -> LedgerClockDiffers:
    """Return the error that says how far a server's clock is ahead of the database's."""
    side = "ahead of" if ahead > timedelta() else "behind"
    found = f"the server's clock is {abs(ahead).total_seconds():,.0f} s {side} the database's"
    return LedgerClockDiffers(f"{found}; expected at most {MOST_APART.total_seconds():.0f} s: set the clocks", ahead)
