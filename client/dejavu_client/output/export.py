"""Files of the record: CSV and parquet with the same columns, written whole or not at all."""

from __future__ import annotations

import csv
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from dejavu_client.output.columns import Column, ColumnType, Value

RowT = TypeVar("RowT")

STANDARD_OUTPUT: Final = Path("-")
_ROWS_OF_A_GROUP: Final = 10_000
"""Rows that are held in memory at a time."""


class ParquetNotInstalled(ImportError):
    """What writes parquet is missing; the message says how to install it."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place once all went well; else nothing is left behind.

    Raises:
        OSError: if it can't be put in its place.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def write_csv(path: Path, columns: Sequence[Column[RowT]], rows: Iterable[RowT]) -> int:
    """Writes a CSV file (commas, UTF-8, a line of names first), or to standard output for `-`.

    Times are ISO 8601 in UTC, flags `true` and `false`, lists numbers with spaces between; what is missing is empty.

    Returns:
        How many rows it has.

    Raises:
        OSError: if it can't be written.
    """
    if path == STANDARD_OUTPUT:
        return _write_csv(sys.stdout, columns, rows)
    with replacing(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        return _write_csv(file, columns, rows)


def write_parquet(path: Path, columns: Sequence[Column[RowT]], rows: Iterable[RowT]) -> int:
    """Writes a parquet file; times are UTC in microseconds, lists of doubles lists.

    Returns:
        How many rows it has.

    Raises:
        OSError: if it can't be written.
        ParquetNotInstalled: as `need_parquet`.
    """
    need_parquet()
    import pyarrow as pa  # noqa: PLC0415 - an extra
    from pyarrow import parquet  # noqa: PLC0415

    types = {
        ColumnType.TEXT: pa.string(),
        ColumnType.INTEGER: pa.int64(),
        ColumnType.REAL: pa.float64(),
        ColumnType.FLAG: pa.bool_(),
        ColumnType.TIME: pa.timestamp("us", tz="UTC"),
        ColumnType.REALS: pa.list_(pa.float64()),
    }
    schema = pa.schema([(column.name, types[column.kind]) for column in columns])
    count = 0
    with replacing(path) as new, parquet.ParquetWriter(new, schema) as writer:
        for group in _groups(rows):
            values = [[column.pick(row) for row in group] for column in columns]
            writer.write_table(pa.table(dict(zip(schema.names, values, strict=True)), schema=schema))
            count += len(group)
    return count


def need_parquet() -> None:
    """Makes sure that parquet can be written.

    Raises:
        ParquetNotInstalled: if it cannot.
    """
    if find_spec("pyarrow") is None:
        raise ParquetNotInstalled(
            "parquet needs pyarrow, which is not installed: pip install 'dejavu-forecast[live]'", name="pyarrow"
        )


def _write_csv(file: IO[str], columns: Sequence[Column[RowT]], rows: Iterable[RowT]) -> int:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(column.name for column in columns)
    picks: list[Callable[[RowT], Value]] = [column.pick for column in columns]
    count = 0
    for row in rows:
        writer.writerow([_text(pick(row)) for pick in picks])
        count += 1
    return count


def _text(value: Value) -> Any:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        case list():
            return " ".join(f"{number:.15g}" for number in value)
        case _:
            return value  # csv writes None as nothing and a float so that it reads back as the same one


def _groups(rows: Iterable[RowT]) -> Iterator[list[RowT]]:
    left = iter(rows)
    while group := list(itertools.islice(left, _ROWS_OF_A_GROUP)):
        yield group
