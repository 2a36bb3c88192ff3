"""Exports of the track record: CSV and parquet with the same columns, written atomically."""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from dejavu_client.output.export_columns import Column, ColumnType, Value
from dejavu_common.files import atomic_replace

RowT = TypeVar("RowT")

STANDARD_OUTPUT: Final = Path("-")
_ROWS_OF_A_GROUP: Final = 10_000
"""Number of rows per parquet row group, kept in memory while writing."""


def write_csv(path: Path, columns: Sequence[Column[RowT]], rows: Iterable[RowT]) -> int:
    """Writes a CSV file (comma-separated, UTF-8, with a header line), or to standard output for `-`.

    Times are ISO 8601 in UTC, flags are `true` and `false`, lists are space-separated numbers, and missing values are
    empty.

    Returns:
        Number of rows written.

    Raises:
        OSError: if the file cannot be written.
    """
    if path == STANDARD_OUTPUT:
        return _write_csv(sys.stdout, columns, rows)
    with atomic_replace(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        return _write_csv(file, columns, rows)


def write_parquet(path: Path, columns: Sequence[Column[RowT]], rows: Iterable[RowT]) -> int:
    """Writes a parquet file. Times are UTC in microseconds; lists are lists of doubles.

    Returns:
        Number of rows written.

    Raises:
        OSError: if the file cannot be written.
        ImportError: if pyarrow is not installed.
    """
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
    with atomic_replace(path) as new, parquet.ParquetWriter(new, schema) as writer:
        for group in _groups(rows):
            values = [[column.pick(row) for row in group] for column in columns]
            writer.write_table(pa.table(dict(zip(schema.names, values, strict=True)), schema=schema))
            count += len(group)
    return count


def _write_csv(file: IO[str], columns: Sequence[Column[RowT]], rows: Iterable[RowT]) -> int:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(column.name for column in columns)
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - the last number is the result
        writer.writerow([_text(column.pick(row)) for column in columns])
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
            return value  # csv writes None as an empty field and a float with a round-trip representation


def _groups(rows: Iterable[RowT]) -> Iterator[list[RowT]]:
    remaining = iter(rows)
    while group := list(itertools.islice(remaining, _ROWS_OF_A_GROUP)):
        yield group
