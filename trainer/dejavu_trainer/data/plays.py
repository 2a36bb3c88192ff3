"""Reads and writes plays_{season}.parquet, in the format of `dejavu_feed.files.plays_format`.

All code of the trainer that reads or writes such a file uses this module. docs/training.md describes the format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
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
from dejavu_feed.event_table import write_events
from dejavu_feed.files.checked_games import GameInFiles
from dejavu_feed.files.plays_format import COLUMNS, DATE, MAX_ELAPSED, MAX_SCORE
from dejavu_feed.files.tables import require_columns
from dejavu_trainer.data.events import SeenLine, write_box_scores

NEUTRAL: Final = "neutral_site"
"""Column: 1 if the game was at a neutral site, 0 if not, null where that is not known."""

RECORDED: Final = tuple(name for name in live_inputs.COLUMNS if name != NEUTRAL)
"""Columns of an export of a ledger: the live inputs at the time of the row, null where the ledger does not know
them."""

SCHEMA: Final = pa.schema(
    [
        *((name, pa.string()) for name in COLUMNS[:4]),
        ("elapsed_s", pa.float64()),
        *((name, pa.int64()) for name in COLUMNS[5:]),
        (DATE, pa.date32()),
        *((name, pa.float32()) for name in live_inputs.COLUMNS),
    ]
)
"""One row per change of the score; the rows of a game are in chronological order. A file may lack the columns after
`plays_format.COLUMNS`: the local date of each game, which an id of the NBA does not contain, and the live inputs."""

_BOUNDS: Final = {
    "elapsed_s": (0, MAX_ELAPSED),
    "home_score": (0, MAX_SCORE),
    "away_score": (0, MAX_SCORE),
    **{name: part.bounds for name, part in live_inputs.COLUMNS.items()},
}
_NAME = re.compile(r"plays_([0-9]{4})\.parquet", re.ASCII)


class SeasonFile(StrEnum):
    """Kind of a season's file; the value begins its name."""

    PLAYS = "plays"
    EVENTS = "events"
    PLAYERS = "players"


def season_path(folder: Path, season: int, kind: SeasonFile = SeasonFile.PLAYS) -> Path:
    """Return the path of a season's file in a folder."""
    return folder / f"{kind}_{season}.parquet"


def season_files(path: Path) -> dict[int, Path]:
    """Return the files of plays by season, ascending: those of a folder and its subfolder seasons/, or the file itself.

    Raises:
        DataError: if there is none.
    """
    files = [path] if path.is_file() else [*path.glob("seasons/plays_*.parquet"), *path.glob("plays_*.parquet")]
    found = {int(match[1]): file for file in files if (match := _NAME.fullmatch(file.name))}
    if not found:
        expected = "is not plays_SEASON.parquet" if path.is_file() else "contains no plays_SEASON.parquet"
        raise DataError(f"{path}: {expected}")
    return dict(sorted(found.items()))


def read_plays(path: Path) -> pa.Table:
    """Read the rows of a file in file order, with the columns and types of `SCHEMA`; columns that it lacks are null.

    Only the live inputs and `away` may be null. Some sources have a null in `away` for games that were never played.

    Raises:
        DataError: if the file is not parquet, lacks a column, or a value has a wrong type, is missing or out of bounds.
    """
    try:
        columns = pq.read_schema(path).names
        require_columns(path, columns, COLUMNS)
        present = [name for name in SCHEMA.names if name in columns]
        table = complete(pq.read_table(path, columns=present))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: can't be read as plays: {error}") from error
    for column in present:
        if column not in ("away", *live_inputs.COLUMNS) and table[column].null_count:
            row = pc.index(pc.is_null(table[column]), value=True).as_py() + 1
            raise DataError(f"{path}: row {row}: {column} is missing")
    for column, (minimum, maximum) in _BOUNDS.items():
        values: NDArray[np.float64] = table[column].fill_null(minimum).to_numpy()
        wrong = np.flatnonzero(~((values >= minimum) & (values <= maximum)))  # NaN counts as wrong too
        if len(wrong):
            row = int(wrong[0])
            raise DataError(f"{path}: row {row + 1}: {column} is {values[row]}; expected {minimum} to {maximum:g}")
    return table


def complete(table: pa.Table) -> pa.Table:
    """Return plays with all columns of `SCHEMA`; those that they lack are null."""
    columns = [table[each.name] if each.name in table.column_names else pa.nulls(len(table)) for each in SCHEMA]
    return pa.table(columns, SCHEMA.names).cast(SCHEMA)


def plays_table(games: Iterable[GameInFiles]) -> pa.Table:
    """Return the plays of games, game by game, with their dates, and their sites if one is known."""
    rows = [
        (game.game_id, game.phase, game.home, game.away, *score, game.day, game.neutral_site)
        for game in games
        for score in game.scores
    ]
    names = [*COLUMNS, DATE, NEUTRAL]
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    table = pa.table(
        dict(zip(names, map(list, columns), strict=True)), pa.schema([SCHEMA.field(name) for name in names])
    )
    return table.drop_columns(NEUTRAL) if table[NEUTRAL].null_count == len(table) else table


def write_plays(folder: Path, season: int, table: pa.Table) -> Path:
    """Write plays_{season}.parquet atomically into `folder`, which is created if it does not exist.

    Removes the events and players of the replaced plays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = season_path(folder, season)
    fields = [each for each in SCHEMA if each.name in table.column_names]
    with atomic_replace(target) as new:
        pq.write_table(table.select([each.name for each in fields]).cast(pa.schema(fields)), new, compression="zstd")
    for kind in (SeasonFile.EVENTS, SeasonFile.PLAYERS):
        season_path(folder, season, kind).unlink(missing_ok=True)
    return target


def write_season(
    folder: Path,
    season: int,
    plays: pa.Table,
    games: Iterable[GameInFiles],
    box_scores: Mapping[str, Iterable[SeenLine]] | None = None,
) -> Path:
    """Write the files of a season; see `write_plays`.

    Args:
        folder: the folder.
        season: year in which the season ends.
        plays: plays of the games, as `plays_table` returns them.
        games: the games, with their events if these are known.
        box_scores: box scores of games that have one, by id.

    Returns:
        The file of plays.
    """
    path = write_plays(folder, season, plays)
    if events := [(game.game_id, game.events) for game in games if game.events]:
        write_events(season_path(folder, season, SeasonFile.EVENTS), events)
    if box_scores:
        write_box_scores(season_path(folder, season, SeasonFile.PLAYERS), box_scores)
    return path
