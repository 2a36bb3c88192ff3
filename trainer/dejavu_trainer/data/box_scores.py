"""Reads players_{season}.parquet: the players of each game, their time on court, and when they were first on court.

docs/data.md describes the format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dejavu_common.files import atomic_replace
from dejavu_feed.box_score import MAX_SECONDS, PlayerLine, box_score_faults
from dejavu_feed.errors import DataError
from dejavu_feed.files.tables import read_rows

SCHEMA: Final = pa.schema(
    {
        "game_id": pa.string(),
        "player": pa.int64(),
        "home": pa.bool_(),
        "seconds": pa.int64(),
        "plus_minus": pa.int64(),
        "started": pa.bool_(),
        "first_s": pa.float64(),
    }
)
"""One row per player and game."""


class SeenLine(NamedTuple):
    """A line of a box score, and when the player was first on court, in game seconds since tip-off."""

    line: PlayerLine
    first: float


def no_box_scores(count: int) -> NDArray[np.object_]:
    """Return the box scores of games that have none, (n,)."""
    result = np.empty(count, np.object_)
    for row in range(count):
        result[row] = ()
    return result


def write_box_scores(path: Path, games: Mapping[str, Iterable[SeenLine]]) -> None:
    """Write the box scores of games, by id, atomically and in the given order."""
    rows = [(game_id, *each.line, each.first) for game_id, lines in games.items() for each in lines]
    table = pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)
    with atomic_replace(path) as new:
        pq.write_table(table, new, compression="zstd")


def read_box_scores(path: Path) -> dict[str, tuple[SeenLine, ...]]:
    """Read the box scores of a season's games, by id.

    Raises:
        DataError: if it can't be read, is too large, lacks a column, or the lines of a game are wrong.
    """
    try:
        rows = [row.values for row in read_rows(path, SCHEMA.names)]  # with limits: such files come from elsewhere
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
    except (pa.ArrowException, OverflowError) as error:
        raise DataError(f"{path}: can't be read as box scores: {error}") from error
    for name in SCHEMA.names:
        if table[name].null_count:
            raise DataError(f"{path}: {name} is missing in {table[name].null_count:,} rows")
        if pa.types.is_integer(table[name].type):
            fractions = [row[name] for row in rows if row[name] % 1]  # Arrow cuts them off
            if fractions:
                raise DataError(f"{path}: {name} is {fractions[0]}; expected a whole number")
    games: dict[str, list[SeenLine]] = {}
    for game_id, *values, first in zip(*(table[name].to_pylist() for name in SCHEMA.names), strict=True):
        if not 0 <= first <= MAX_SECONDS:  # NaN fails too
            raise DataError(f"{path}: game {game_id}: first_s is {first}; expected 0 to {MAX_SECONDS}")
        games.setdefault(game_id, []).append(SeenLine(PlayerLine(*values), first))
    for game_id, lines in games.items():
        for name, value, expected in box_score_faults([each.line for each in lines]):
            raise DataError(f"{path}: game {game_id}: {name} is {value}; expected {expected}")
    return {game_id: tuple(sorted(lines)) for game_id, lines in games.items()}
