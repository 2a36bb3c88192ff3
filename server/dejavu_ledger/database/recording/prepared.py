"""Statements of the write path, compiled once and run on the driver's own connection.

SQLAlchemy takes ten times as long to run a statement as SQLite does, because it builds a context for every execution.
A recorded forecast needs half a dozen, so these are compiled to text once per dialect, and the driver runs them. Both
drivers cache prepared statements by their text. Values are passed unchanged: the drivers convert the columns' types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import ClauseElement, ColumnElement, Connection, Dialect, Table, bindparam, insert
from sqlalchemy.exc import DBAPIError

MOST_VALUES = 512
"""Maximum length of the list in one statement; databases allow many times as many parameters."""

_NAMES = tuple(f"value_{index}" for index in range(MOST_VALUES))


class _Text(NamedTuple):
    """A compiled statement.

    Attributes:
        sql: the text for the driver.
        in_order: returns the parameters by position; None if the driver takes them by name.
        constants: parameters that the statement itself has.
    """

    sql: str
    in_order: Callable[[Mapping[str, Any]], tuple[Any, ...]] | None
    constants: dict[str, Any]

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """Return the parameters in the form that the driver takes."""
        complete = {**self.constants, **values} if self.constants else values
        return complete if self.in_order is None else self.in_order(complete)


class PreparedQuery:
    """A query without parameters, or with one list of values.

    Args:
        build: builds the query from the parameters of the list, which it uses with `in_`. It is called once for each
            of a few lengths.
    """

    def __init__(self, build: Callable[[Sequence[ColumnElement[Any]]], ClauseElement]) -> None:
        self._build = build

    def rows(self, connection: Connection, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of the query.

        Args:
            connection: the connection; a write needs the write lock.
            values: the list, of any length. A long list is queried in chunks, whose rows are concatenated.

        Raises:
            sqlalchemy.exc.DBAPIError: if the database fails.
        """
        if not values:
            return self._run(connection, values)
        found: list[tuple[Any, ...]] = []
        for start in range(0, len(values), MOST_VALUES):
            found += self._run(connection, values[start : start + MOST_VALUES])
        return found

    def _run(self, connection: Connection, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        # Lengths are powers of two, so that there are few texts to prepare; the last value fills the rest.
        length = 1 << (len(values) - 1).bit_length() if values else 0
        filled = [*values, *[values[-1]] * (length - len(values))] if values else []
        text = _query_text(self, connection.dialect, length)
        return run_on_driver(connection, text.sql, text.parameters(dict(zip(_NAMES, filled, strict=False))))

    def compiled(self, dialect: Dialect, length: int) -> _Text:
        """Compile the query for a length of the list."""
        return _compile(self._build([bindparam(name) for name in _NAMES[:length]]), dialect)


class PreparedInsert:
    """An insertion of rows into a table.

    Args:
        table: the table.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    def execute(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows, all with the same columns.

        Raises:
            sqlalchemy.exc.DBAPIError: if the database fails.
        """
        if not rows:
            return
        text = _insert_text(self, connection.dialect, tuple(rows[0]))
        parameters = [text.parameters(row) for row in rows]
        if len(parameters) == 1:
            run_on_driver(connection, text.sql, parameters[0])
        else:
            run_on_driver(connection, text.sql, parameters, many=True)

    def compiled(self, dialect: Dialect, columns: Sequence[str]) -> _Text:
        """Compile the insertion of some columns."""
        return _compile(insert(self._table), dialect, columns)


def run_on_driver(
    connection: Connection, sql: str, parameters: Any = (), *, many: bool = False
) -> list[tuple[Any, ...]]:
    """Run a statement on the driver's connection; return its rows.

    Args:
        connection: the connection.
        sql: the statement.
        parameters: in the form that the driver takes; if `many`, a sequence with one item per execution.
        many: whether to execute it several times.

    Raises:
        sqlalchemy.exc.DBAPIError: if the database fails.
    """
    driver: Any = connection.connection.dbapi_connection
    driver_error = connection.dialect.loaded_dbapi.Error
    try:
        cursor = driver.cursor()
        try:
            (cursor.executemany if many else cursor.execute)(sql, parameters)
            return [] if cursor.description is None else cursor.fetchall()
        finally:
            cursor.close()
    except driver_error as error:
        # Without the parameters, as elsewhere: they must not reach a log.
        raise DBAPIError.instance(sql, None, error, driver_error, hide_parameters=True) from error


@lru_cache(maxsize=256)
def _query_text(query: PreparedQuery, dialect: Dialect, length: int) -> _Text:
    return query.compiled(dialect, length)


@lru_cache(maxsize=64)
def _insert_text(statement: PreparedInsert, dialect: Dialect, columns: tuple[str, ...]) -> _Text:
    return statement.compiled(dialect, columns)


def _compile(statement: ClauseElement, dialect: Dialect, columns: Sequence[str] | None = None) -> _Text:
    compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
    in_order = _picker(compiled.positiontup) if compiled.positional else None
    constants = {name: bind.effective_value for name, bind in compiled.binds.items() if not bind.required}
    return _Text(str(compiled), in_order, constants)


def _picker(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)  # itemgetter returns a tuple only for several names
    return lambda values: tuple(values[name] for name in names)
