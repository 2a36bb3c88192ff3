"""Reads and writes plays_{season}.parquet, in the format of `dejavu_feed.files.plays_format`.

All code of the trainer that reads or writes such a file uses this module. docs/training.md describes the format.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dejavu_common.files import atomic_replace
from dejavu_feed import live_inputs
from dejavu_feed.errors import DataError
from dejavu_feed.files.checked_games import GameInFiles
from dejavu_feed.files.plays_format import COLUMNS, DATE, MAX_ELAPSED, MAX_SCORE
from dejavu_feed.files.tables import require_columns

SCHEMA = pa.schema(zip(COLUMNS, [pa.string()] * 4 + [pa.float64()] + [pa.int64()] * 2, strict=True))
"""One row per change of the score; the rows of a game are in chronological order."""

DATED = SCHEMA.append(pa.field(DATE, pa.date32()))
"""SCHEMA with the local date of each game, which an id of the NBA does not contain."""

NEUTRAL = "neutral_site"
"""Column of `LISTED`: 1 if the game was at a neutral site, 0 if not, null where that is not known."""

LISTED = DATED.append(pa.field(NEUTRAL, pa.float32()))
"""DATED with the additional columns of a list of games."""

RECORDED_FIELDS = tuple(pa.field(name, pa.float32()) for name in live_inputs.COLUMNS)
"""Columns of an export of a ledger: the live inputs at the time of the row, null where the ledger does not know
them."""

EXPORTED = pa.schema([*DATED, *RECORDED_FIELDS])
"""DATED with RECORDED_FIELDS."""

_BOUNDS: Final = {
    "elapsed_s": (0, MAX_ELAPSED),
    "home_score": (0, MAX_SCORE),
    "away_score": (0, MAX_SCORE),
    **{name: part.bounds for name, part in live_inputs.COLUMNS.items()},
}
_NAME = re.compile(r"plays_([0-9]{4})\.parquet", re.ASCII)


class Content(StrEnum):
    """Content of a season's file; the value begins its name."""

    PLAYS = "plays"
    EVENTS = "events"
    PLAYERS = "players"


def season_path(folder: Path, season: int, content: Content = Content.PLAYS) -> Path:
    """Return the path of a season's file in a folder."""
    return folder / f"{content}_{season}.parquet"


def file_beside_plays(folder: Path, season: int, content: Content) -> Path | None:
    """Find a file of a season beside its plays; None if there is none."""
    path = season_path(plays_file(folder, season).parent, season, content)
    return path if path.is_file() else None


def season_of_file(path: Path) -> int:
    """Return the season of plays_{season}.parquet.

    Raises:
        DataError: if a file has another name.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise DataError(f"{path}: not a file of games; expected plays_{{season}}.parquet")
    return int(match[1])


def plays_file(folder: Path, season: int) -> Path:
    """Find the file of a season in `folder` or in its subfolder seasons/.

    Raises:
        DataError: if neither contains it.
    """
    path = season_path(folder, season)
    for candidate in (path, season_path(folder / "seasons", season)):
        if candidate.is_file():
            return candidate
    raise DataError(f"{folder}: contains no {path.name}, nor does {folder / 'seasons'}")


def available_seasons(folder: Path) -> list[int]:
    """Return the seasons with plays in a folder or its subfolder seasons/, ascending.

    Raises:
        DataError: if there is none.
    """
    names = [path.name for location in (folder, folder / "seasons") for path in location.glob("plays_*.parquet")]
    if seasons := {int(match[1]) for match in map(_NAME.fullmatch, names) if match}:
        return sorted(seasons)
    raise DataError(f"{folder}: contains no plays_SEASON.parquet, nor does {folder / 'seasons'}")


def read_plays(path: Path) -> pa.Table:
    """Read the rows of a file in file order, with the columns and types of `SCHEMA`.

    The columns of `DATED`, `LISTED` and `EXPORTED` are added if the file has them. Only the columns of
    `RECORDED_FIELDS`, which include that of `LISTED`, and `away` may be null. Some sources have a null in `away` for
    games that were never played.

    Raises:
        DataError: if the file is not parquet, lacks a column, or a value has a wrong type, is missing or out of bounds.
    """
    try:
        columns = pq.read_schema(path).names
        require_columns(path, columns, COLUMNS)
        schema = _schema(columns)
        table = _complete(pq.read_table(path, columns=[name for name in schema.names if name in columns]))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: can't be read as plays: {error}") from error
    for column in schema.names[: len(DATED)]:
        if column != "away" and table[column].null_count:
            row = pc.index(pc.is_null(table[column]), value=True).as_py() + 1
            raise DataError(f"{path}: row {row}: {column} is missing")
    for column, (minimum, maximum) in _BOUNDS.items():
        if column not in schema.names:
            continue
        values: NDArray[np.float64] = table[column].fill_null(minimum).to_numpy()
        wrong = np.flatnonzero(~((values >= minimum) & (values <= maximum)))  # NaN counts as wrong too
        if len(wrong):
            row = int(wrong[0])
            raise DataError(f"{path}: row {row + 1}: {column} is {values[row]}; expected {minimum} to {maximum:g}")
    return table


def _schema(columns: Collection[str]) -> pa.Schema:
    if DATE not in columns:
        return SCHEMA
    if any(field.name in columns for field in RECORDED_FIELDS if field.name != NEUTRAL):
        return EXPORTED
    return LISTED if NEUTRAL in columns else DATED


def _complete(table: pa.Table) -> pa.Table:
    """Return a table with all columns of its schema; an export may lack some of the live inputs."""
    schema = _schema(table.column_names)
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(schema.names).cast(schema)


def plays_table(games: Iterable[GameInFiles]) -> pa.Table:
    """Return the plays of games in the columns of `LISTED`, game by game; of `DATED` if no site is known."""
    rows = [
        (game.game_id, game.phase, game.home, game.away, *score, game.day, game.neutral_site)
        for game in games
        for score in game.scores
    ]
    columns = zip(*rows, strict=True) if rows else [()] * len(LISTED)
    table = pa.table(dict(zip(LISTED.names, map(list, columns), strict=True)), schema=LISTED)
    return table.drop_columns(NEUTRAL) if table[NEUTRAL].null_count == len(table) else table


def write_plays(folder: Path, season: int, table: pa.Table) -> Path:
    """Write plays_{season}.parquet atomically into `folder`, which is created if it does not exist.

    Removes the events and players of the replaced plays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = season_path(folder, season)
    with atomic_replace(target) as new:
        pq.write_table(_complete(table), new, compression="zstd")
    for content in (Content.EVENTS, Content.PLAYERS):
        season_path(folder, season, content).unlink(missing_ok=True)
    return target
