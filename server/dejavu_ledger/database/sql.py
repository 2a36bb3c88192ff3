"""Runs SQL text on either database: values are named `:name`, and `IN :name` takes a list of any length."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

_LIST: Final = re.compile(r"\bIN :([a-z_]+)")
_VALUE: Final = re.compile(r":([a-z_]+)")

Row = tuple[Any, ...]


def rows(connection: Connection, text: str, /, **values: Any) -> list[Row]:
    """Return the rows of a query.

    Args:
        connection: the connection; a query that writes needs the write lock.
        text: the query. Both databases know its words; casts are written CAST(x AS type).
        **values: its values; lists and tuples for `IN :name`.

    Raises:
        sqlalchemy.exc.DBAPIError: if the database fails.
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


def _run(connection: Connection, text: str, values: Any, *, many: bool) -> list[Row]:
    driver: Any = connection.connection.dbapi_connection
    driver_error = connection.dialect.loaded_dbapi.Error
    on_sqlite = connection.dialect.name == "sqlite"
    if on_sqlite and not many:  # its drivers take no lists
        values = {name: json.dumps([*of]) if isinstance(of, list | tuple) else of for name, of in values.items()}
    elif not many:
        values = {name: [*of] if isinstance(of, tuple) else of for name, of in values.items()}
    text = _for_sqlite(text) if on_sqlite else _for_postgresql(text)
    try:
        cursor = driver.cursor()
        try:
            (cursor.executemany if many else cursor.execute)(text, values)
            return [] if cursor.description is None else cursor.fetchall()
        finally:
            cursor.close()
    except driver_error as error:
        # Without the values, which must not reach a log.
        raise DBAPIError.instance(text, None, error, driver_error, hide_parameters=True) from error


@lru_cache(maxsize=512)
def _for_sqlite(text: str) -> str:
    return _LIST.sub(r"IN (SELECT value FROM json_each(:\1))", text)


@lru_cache(maxsize=512)
def _for_postgresql(text: str) -> str:
    return _VALUE.sub(r"%(\1)s", _LIST.sub(r"= ANY(:\1)", text.replace("%", "%%")))


@lru_cache(maxsize=32)
def _insert(table: str, columns: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(f':{name}' for name in columns)})"  # noqa: S608
