"""A season of plays on disk: plays_{season}.parquet, its columns and what must hold in each row.

Everything that reads or writes such a file does so through this module. docs/data.md describes the format.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

SCHEMA = pa.schema(
    [
        pa.field("game_id", pa.string()),
        pa.field("type", pa.string()),
        pa.field("home", pa.string()),
        pa.field("away", pa.string()),
        pa.field("elapsed_s", pa.float64()),
        pa.field("home_score", pa.int64()),
        pa.field("away_score", pa.int64()),
    ]
)
"""One row for every change of the score; the rows of a game in the order in which they happened."""

COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)

DATE = "game_date"
DATED = SCHEMA.append(pa.field(DATE, pa.date32()))
"""With the local date of each game, which an id of the NBA does not tell."""

MAX_ELAPSED = 4 * 720 + 20 * 300
"""Bound of elapsed_s, in game seconds: twenty overtimes; the longest NBA game had six."""

MAX_SCORE = 400
"""Bound of one team's score, in points; the highest ever is 186."""


class DataError(ValueError):
    """A file of plays that can't be used: the message names the file and what is wrong in it."""


def season_path(folder: Path, season: int) -> Path:
    """Where a season lies in its folder."""
    return folder / f"plays_{season}.parquet"


def plays_file(folder: Path, season: int) -> Path:
    """The file of a season in `folder` or in its subfolder nba/.

    Raises:
        DataError: if neither holds it.
    """
    path = season_path(folder, season)
    for found in (path, season_path(folder / "nba", season)):
        if found.is_file():
            return found
    raise DataError(f"{folder}: holds no {path.name}, nor does {folder / 'nba'}")


def read_plays(path: Path) -> pa.Table:
    """The rows of a file, in their order, with the columns and types of `SCHEMA`; of `DATED` if the file has dates.

    Only `away` may be null: the sources name some games that were never played in that way.

    Raises:
        DataError: if the file is no parquet, lacks a column, or a value is of a wrong type, missing or out of bounds.
    """
    try:
        found = pq.read_schema(path).names
        missing = [column for column in COLUMNS if column not in found]
        if missing:
            raise DataError(f"{path}: lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}")
        schema = DATED if DATE in found else SCHEMA
        table = pq.read_table(path, columns=schema.names).cast(schema)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: can't be read as plays: {error}") from error
    for column in schema.names:
        if column != "away" and table[column].null_count:
            row = pc.index(pc.is_null(table[column]), value=True).as_py() + 1
            raise DataError(f"{path}: row {row}: {column} is missing")
    _check_bounds(path, table, "elapsed_s", MAX_ELAPSED)
    _check_bounds(path, table, "home_score", MAX_SCORE)
    _check_bounds(path, table, "away_score", MAX_SCORE)
    return table


def _check_bounds(path: Path, table: pa.Table, column: str, most: float) -> None:
    values: NDArray[np.float64] = table[column].to_numpy()
    wrong = np.flatnonzero(~((values >= 0) & (values <= most)))  # true for NaN too
    if len(wrong):
        row = int(wrong[0])
        raise DataError(f"{path}: row {row + 1}: {column} is {values[row]}; expected 0 to {most:g}")


def write_plays(folder: Path, season: int, table: pa.Table) -> Path:
    """Writes plays_{season}.parquet into `folder`, which is made if need be; a reader never sees half a file."""
    folder.mkdir(parents=True, exist_ok=True)
    target = season_path(folder, season)
    schema = DATED if DATE in table.column_names else SCHEMA
    write_atomic(target, lambda path: pq.write_table(table.cast(schema), path, compression="zstd"))
    return target


def write_atomic(target: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a file beside `target` and moves it into place once it is whole."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    beside = Path(name)
    try:
        write(beside)
        beside.chmod(0o644)  # mkstemp makes files that only their owner may read
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
