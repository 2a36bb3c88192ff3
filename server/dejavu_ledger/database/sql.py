"""Runs SQL text on either database: values are named `:name`, and `IN :name` takes a list of any length."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

from dejavu_ledger.database.schema import Dialect

_LIST: Final = re.compile(r"\bIN :([a-z_]+)")
_VALUE: Final = re.compile(r":([a-z_]+)")
_SNAPSHOT: Final = {"sqlite": "BEGIN", "postgresql": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}

Row = tuple[Any, ...]


class Connection:
    """A connection to the database of a ledger, used by one thread at a time; it starts no transactions by itself.

    Attributes:
        dialect: kind of the database.
        driver: the connection of sqlite3 or psycopg.
    """

    def __init__(self, dialect: Dialect, driver: Any) -> None:
        self.dialect: Dialect = dialect
        self.driver = driver
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it was closed, by this program or by the database."""
        return self._closed or getattr(self.driver, "closed", False)

    def close(self) -> None:
        """Close it, which rolls a transaction back. Idempotent."""
        self._closed = True
        self.driver.close()


def rows(connection: Connection, text: str, /, **values: Any) -> list[Row]:
    """Return the rows of a query.

    Args:
        connection: the connection; a query that writes needs the write lock.
        text: the query. Both databases know its words; casts are written CAST(x AS type).
        **values: its values; lists and tuples for `IN :name`.

    Raises:
        sqlite3.Error, psycopg.Error: if the database fails; `Backend` makes a LedgerError of it.
    """
    return _run(connection, text, values, many=False)


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
    if values:
        _run(connection, text, values, many=True)


def insert(connection: Connection, table: str, values: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows into a table, all with the columns of the first."""
    if values:
        run_each(connection, _insert(table, tuple(values[0])), values)


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


def _run(connection: Connection, text: str, values: Any, *, many: bool) -> list[Row]:
    on_sqlite = connection.dialect == "sqlite"
    if on_sqlite and not many:  # its driver takes no lists
        values = {name: json.dumps([*of]) if isinstance(of, list | tuple) else of for name, of in values.items()}
    elif not many:
        values = {name: [*of] if isinstance(of, tuple) else of for name, of in values.items()}
    text = _for_sqlite(text) if on_sqlite else _for_postgresql(text)
    cursor = connection.driver.cursor()
    try:
        if many and len(values) > 1:
            cursor.executemany(text, values)
        else:
            cursor.execute(text, values[0] if many else values)
        return [] if cursor.description is None else cursor.fetchall()
    finally:
        cursor.close()


@lru_cache(maxsize=512)
def _for_sqlite(text: str) -> str:
    return _LIST.sub(r"IN (SELECT value FROM json_each(:\1))", text)


@lru_cache(maxsize=512)
def _for_postgresql(text: str) -> str:
    return _VALUE.sub(r"%(\1)s", _LIST.sub(r"= ANY(:\1)", text.replace("%", "%%")))


@lru_cache(maxsize=64)
def _insert(table: str, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(f':{name}' for name in columns)})"  # noqa: S608
