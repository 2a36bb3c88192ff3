"""Runs SQL text on either database: values are named `:name`, and `IN :name` takes a list of any length.

The clock of the database is what servers compare their own with, and what side state goes by.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from dejavu_common.clock import microseconds
from dejavu_ledger.database.backend import Connection, Dialect
from dejavu_ledger.errors import LedgerClockDiffers

_LIST: Final = re.compile(r"\bIN :([a-z_]+)")
_VALUE: Final = re.compile(r":([a-z_]+)")
_SNAPSHOT: Final = {"sqlite": "BEGIN", "postgresql": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}

Row = tuple[Any, ...]


def rows(connection: Connection, text: str, /, **values: Any) -> list[Row]:
    """Return the rows of a query.

    Args:
        connection: the connection; a query that writes needs the write lock.
        text: the query. Both databases know its words; casts are written CAST(x AS type).
        **values: its values; lists and tuples for `IN :name`.

    Raises:
        sqlite3.Error, psycopg.Error: if the database fails; `Backend` makes a LedgerError of it.
    """
    adapted = json.dumps if connection.dialect == "sqlite" else list  # SQLite takes no lists
    values = {name: adapted([*of]) if isinstance(of, list | tuple) else of for name, of in values.items()}
    cursor = connection.driver.execute(_translated(connection.dialect, text), values)
    return [] if cursor.description is None else cursor.fetchall()


def row(connection: Connection, text: str, /, **values: Any) -> Row | None:
    """Return the first row of a query; None if it has none."""
    found = rows(connection, text, **values)
    return found[0] if found else None


def value(connection: Connection, text: str, /, **values: Any) -> Any:
    """Return the first value of the first row of a query; None if it has no row."""
    found = row(connection, text, **values)
    return None if found is None else found[0]


def run_each(connection: Connection, text: str, values: Sequence[Mapping[str, Any]]) -> None:
    """Run a statement once for each of some mappings of values; not at all for none."""
    if len(values) == 1:  # the usual case, for which psycopg would start a pipeline
        rows(connection, text, **values[0])
    elif values:
        connection.driver.cursor().executemany(_translated(connection.dialect, text), values)


def insert(connection: Connection, table: str, values: Sequence[Mapping[str, Any]], key: tuple[str, ...] = ()) -> None:
    """Insert rows into a table, all with the columns of the first, in place of those with equal values in `key`."""
    if values:
        run_each(connection, _insert(table, tuple(values[0]), key), values)


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """Make all statements in the block see the same state of the ledger.

    Keep the block short: SQLite's write-ahead log only grows meanwhile.
    """
    rows(connection, _SNAPSHOT[connection.dialect])
    try:
        yield
    finally:
        if not connection.closed:  # by an error, which is the one to raise
            connection.driver.rollback()


@lru_cache(maxsize=512)
def _translated(dialect: Dialect, text: str) -> str:
    if dialect == "sqlite":
        return _LIST.sub(r"IN (SELECT value FROM json_each(:\1))", text)
    return _VALUE.sub(r"%(\1)s", _LIST.sub(r"= ANY(:\1)", text.replace("%", "%%")))


@lru_cache(maxsize=64)
def _insert(table: str, columns: tuple[str, ...], key: tuple[str, ...]) -> str:
    text = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(f':{name}' for name in columns)})"  # noqa: S608
    if not key:
        return text
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in key)
    return f"{text} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"


MOST_APART: Final = timedelta(minutes=2)
"""Difference of the clocks beyond which a server records nothing: entries have the times of servers."""

_NOW: Final = {
    "sqlite": "SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
    "postgresql": "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
}


def database_time(connection: Connection) -> int:
    """Return the time by the database's clock (for SQLite, the machine's), in microseconds since 1970, UTC."""
    return int(value(connection, _NOW[connection.dialect]))


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
