"""Reads tables of any source row by row: text with any delimiter, parquet, and JSON of the NBA's statistics.

Errors name the file and the problem in words. pyarrow (extras `live` and `trainer`) is imported for parquet only.
"""

from __future__ import annotations

import csv
import io
import json
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, TypeVar

from dejavu_common.files import open_regular
from dejavu_feed.errors import DataError, not_installed

T = TypeVar("T")
ValueT = TypeVar("ValueT")

_Values = Iterator[tuple[int | None, dict[str | None, Any]]]
"""Line and values of each row, as in `Row`."""

_DELIMITERS: Final = (",", "\t", ";", "|")
_PARQUET: Final = b"PAR1"

MAX_BYTES: Final = 500_000_000
"""Maximum size of a file, of parquet also when decompressed; a season takes less than 200 MB as CSV."""

_MAX_ROWS: Final = 2_000_000
"""Maximum number of rows; parquet may repeat one many times in a small file. A season has up to 650,000."""

_MAX_COLUMNS: Final = 1_000
"""Maximum number of columns of text; each row, however short, takes memory for all of them."""

_LONGEST_ROW: Final = 100_000
"""Maximum number of characters of a row of text, which can consist of commas, or continue over many lines in quotes."""

_LONGEST_TEXT: Final = 1_000
"""Maximum number of bytes of a text of parquet, because a small file can repeat a long text; texts of plays have up to
200."""

_NAMED: Final = 3
"""Maximum number of columns that an error names."""

_BATCH_ROWS: Final = 1_024
"""Number of rows of parquet that are read at a time."""


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        number: its number, from 1.
        line: line of the file on which it ends; None unless the file is text.
        values: its values by column; see `csv.DictReader` for the key None.
    """

    number: int
    line: int | None
    values: dict[str | None, Any]

    def place(self, path: Path) -> str:
        """Return where it is, for error messages."""
        return f"{path} row {self.number}" if self.line is None else f"{path} line {self.line}"


def read_rows(
    path: Path, required: Sequence[str], optional: Sequence[str] = (), *, most: int = MAX_BYTES
) -> Iterator[Row]:
    """Yield the rows of a file, with at least the required columns.

    What a file says twice, a column or a key of an object of JSON, is refused: either could be meant.

    Parquet is recognized by its content or suffix and JSON by its suffix, .json. Anything else is text in UTF-8 with a
    header; the delimiter is the one that gives the header most of the known columns.

    Args:
        path: the file.
        required: names of columns that it must have.
        optional: names of further columns to read from parquet.
        most: largest size in bytes, of parquet also when decompressed.

    Raises:
        DataError: if the file can't be read, is too large, or lacks a column, or has one twice.
        FeedNotInstalled: if the file is parquet, and pyarrow is missing.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise DataError(f"{path}: is {'a folder' if path.is_dir() else 'a device or a pipe'}; expected a file")
        if found.st_size > most:
            raise DataError(f"{path}: has {found.st_size:,} bytes; expected {most:,} at most")
        with open_regular(path, follow_links=True) as file:  # a pipe may just have taken its place
            is_parquet = file.read(len(_PARQUET)) == _PARQUET or path.suffix.lower() == ".parquet"
            file.seek(0)
            if is_parquet:
                rows = _parquet_rows(path, file, required, optional, most)
            elif path.suffix.lower() == ".json":
                rows = _json_rows(path, file.read(most), required)
            else:
                rows = _text_rows(path, file, required, optional)
            for number, (line, values) in enumerate(rows, start=1):
                if number > _MAX_ROWS:
                    raise DataError(f"{path}: has more than {_MAX_ROWS:,} rows")
                yield Row(number, line, values)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error


def is_missing(value: object) -> bool:
    """Return whether a value stands for none: None, NaN in parquet, or an empty text or "NA" in text."""
    return value is None or value != value or str(value).strip() in ("", "NA")  # noqa: PLR0124 - NaN


def in_column(column: str, read: Callable[[ValueT], T], value: ValueT) -> T:
    """Return what `read` makes of a value; a `ValueError` names the column."""
    try:
        return read(value)
    except ValueError as error:
        raise ValueError(f"{column}: {error}") from None


def require_columns(path: Path, columns: Collection[str], required: Collection[str]) -> None:
    """Check that a file has the required columns, and none twice.

    Raises:
        DataError: if not; the message names the file and the columns.
    """
    if twice := [column for column, number in Counter(columns).items() if number > 1 and column]:
        raise DataError(f"{path}: has {' and '.join(map(repr, twice[:_NAMED]))} twice; expected each column once")
    if missing := [column for column in required if column not in columns]:
        raise DataError(f"{path}: lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}")


def _text_rows(path: Path, opened: BinaryIO, required: Sequence[str], optional: Sequence[str]) -> _Values:
    size = 0  # of the row that is being read

    def lines(file: io.TextIOWrapper) -> Iterator[str]:
        nonlocal size
        while line := file.readline(_LONGEST_ROW):
            size += len(line)
            if size >= _LONGEST_ROW:
                raise DataError(f"{path}: has a row of {_LONGEST_ROW:,} characters or more")
            yield line

    try:
        with io.TextIOWrapper(opened, encoding="utf-8-sig", newline="") as file:
            delimiter = _delimiter(file.readline(_LONGEST_ROW), {*required, *optional})
            file.seek(0)
            reader = csv.DictReader(lines(file), delimiter=delimiter, strict=True)
            columns = reader.fieldnames or ()
            if len(columns) > _MAX_COLUMNS:
                raise DataError(f"{path}: has {len(columns):,} columns; expected {_MAX_COLUMNS:,} at most")
            require_columns(path, columns, required)
            size = 0
            for values in reader:
                yield reader.line_num, dict(values)
                size = 0
    except UnicodeDecodeError:
        raise DataError(f"{path}: can't be read as text: it is not in UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path}: can't be read as a table: {error}") from error


def _delimiter(header: str, known: set[str]) -> str:
    """Return the delimiter by which a header has most of the known columns; the comma if none does better."""

    def count(delimiter: str) -> int:
        try:
            return len(known.intersection(*csv.reader([header], delimiter=delimiter)))
        except csv.Error:
            return 0

    return max(_DELIMITERS, key=count)


def _parquet_rows(path: Path, opened: BinaryIO, required: Sequence[str], optional: Sequence[str], most: int) -> _Values:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        from pyarrow import compute, parquet  # noqa: PLC0415
    except ImportError as error:
        raise not_installed(error, "files of parquet need") from error
    try:
        file = parquet.ParquetFile(opened)
        names = file.schema_arrow.names
        require_columns(path, names, required)
        columns = [column for column in (*required, *optional) if column in names]
        of_any_length = _check_amount(path, file.metadata, columns, most)
        # The distinct texts of a column take no more memory than its decompressed pages; repeated texts may.
        texts = parquet.ParquetFile(opened, read_dictionary=of_any_length)
        for column in of_any_length:
            for batch in texts.iter_batches(_MAX_ROWS, columns=[column]):
                values = batch.column(0)
                if pa.types.is_dictionary(values.type):
                    _check_length(path, column, compute.max(compute.binary_length(values.dictionary)).as_py() or 0)
        for batch in file.iter_batches(columns=columns, batch_size=_BATCH_ROWS):
            for row in batch.to_pylist():
                yield None, row
    except (pa.ArrowException, UnicodeDecodeError, OverflowError) as error:
        raise DataError(f"{path}: can't be read as parquet: {error}") from error


def _check_amount(path: Path, metadata: Any, columns: Sequence[str], most: int) -> list[str]:
    """Check the number of rows, their decompressed size, and that each column has single values, of a bounded length.

    Returns:
        The columns with values of variable length, which is not checked here.

    Raises:
        DataError: if a check fails.
    """
    if metadata.num_rows > _MAX_ROWS:
        raise DataError(f"{path}: has {metadata.num_rows:,} rows; expected {_MAX_ROWS:,} at most")
    size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    if size > most:
        raise DataError(f"{path}: has {size:,} bytes when decompressed; expected {most:,} at most")
    leaves = {leaf.path: leaf for leaf in map(metadata.schema.column, range(len(metadata.schema)))}
    for column in columns:
        leaf = leaves.get(column)
        if leaf is None or leaf.max_repetition_level:
            raise DataError(f"{path}: {column} holds lists or records; expected single values")
        _check_length(path, column, leaf.length)
    return [column for column in columns if leaves[column].physical_type == "BYTE_ARRAY"]


def _check_length(path: Path, column: str, length: int) -> None:
    if length > _LONGEST_TEXT:
        raise DataError(f"{path}: {column} has a value of {length:,} bytes; expected {_LONGEST_TEXT:,} at most")


def _json_rows(path: Path, content: bytes, required: Sequence[str]) -> _Values:
    try:
        document = json.loads(content, object_pairs_hook=partial(_unique_keys, path), parse_constant=_refuse_constant)
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: can't be read as JSON: {error}") from error
    rows = _rows_of(path, document)
    if rows is None or not all(isinstance(row, Mapping) for row in rows):
        raise DataError(f"{path}: holds no table: expected a list of objects, resultSets, or a game with actions")
    # An action has only the keys that apply to it.
    present = {str(key) for row in rows for key in row}
    if rows:
        require_columns(path, sorted(present), required)
    for row in rows:
        yield None, dict(row)


def _refuse_constant(name: str) -> None:
    """Refuse NaN and infinities, which are no JSON."""
    raise ValueError(f"{name} is not a value of JSON; expected null for a missing one")


def _unique_keys(path: Path, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON.

    Raises:
        DataError: if it has a key twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        require_columns(path, [key for key, _ in pairs], ())
    return found


def _rows_of(path: Path, document: Any) -> list[Any] | None:
    """Return the rows of a response of the NBA's statistics or live feed, or of a list; None if it has none.

    Raises:
        DataError: if a column or an id is given twice, or a row does not have a value for each column.
    """
    match document:
        case list():
            return document
        case {"resultSets": [{"headers": list(headers), "rowSet": list(rows)}, *_]}:
            if not all(isinstance(header, str) for header in headers):
                return None
            require_columns(path, headers, ())
            for number, row in enumerate(rows, start=1):
                if not isinstance(row, list) or len(row) != len(headers):
                    raise DataError(f"{path} row {number}: expected {len(headers)} values, one for each column")
            return [dict(zip(headers, row, strict=True)) for row in rows]
        case {"game": {"gameId": game_id, "actions": list(actions)}}:
            for number, action in enumerate(actions, start=1):
                if not isinstance(action, Mapping) or action.get("gameId", game_id) != game_id:
                    raise DataError(f"{path} row {number}: expected an action of game {game_id!r}")
            return [{"gameId": game_id, **action} for action in actions]
        case {"PlayByPlay": list(rows)}:
            return rows
    return None
