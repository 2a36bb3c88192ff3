"""Format of events_{season}.parquet: the events of a season's games. docs/data.md describes the columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from dejavu_common.files import atomic_replace
from dejavu_feed.events import Event, EventKind
from dejavu_trainer.data.plays import DataError

_NAME: Final = pa.dictionary(pa.int16(), pa.string())

SCHEMA: Final = pa.schema(
    [
        pa.field("game_id", _NAME),
        pa.field("period", pa.int8()),
        pa.field("elapsed_s", pa.float32()),
        pa.field("number", pa.int32()),
        pa.field("kind", _NAME),
        pa.field("team", _NAME),
        pa.field("home_score", pa.int16()),
        pa.field("away_score", pa.int16()),
        pa.field("points", pa.int8()),
        pa.field("made", pa.bool_()),
        pa.field("shot_value", pa.int8()),
        pa.field("distance_ft", pa.float32()),
        pa.field("free_throw", pa.int8()),
        pa.field("free_throws", pa.int8()),
        pa.field("detail", _NAME),
        pa.field("player", pa.int64()),
        pa.field("other_player", pa.int64()),
        pa.field("possession", _NAME),
    ]
)
"""One row per event; the rows of a game are in chronological order."""


@dataclass(frozen=True, slots=True)
class GameEvents:
    """The events of a game, in chronological order, with scores and possession."""

    game_id: str
    events: tuple[Event, ...]


def events_path(folder: Path, season: int) -> Path:
    """Return the path of a season's events in a folder."""
    return folder / f"events_{season}.parquet"


def write_events(path: Path, games: Iterable[GameEvents]) -> None:
    """Write the events of games atomically, in the given order."""
    with atomic_replace(path) as new:
        pq.write_table(events_table(games), new, compression="zstd")


def events_table(games: Iterable[GameEvents]) -> pa.Table:
    """Return the events of games as a table; values that do not apply to an event are null."""
    rows = [_row(game.game_id, event) for game in games for event in game.events]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def read_events(path: Path) -> pa.Table:
    """Read the events of a season.

    Raises:
        DataError: if the file is not one of events.
    """
    try:
        return pq.read_table(path, columns=SCHEMA.names).cast(SCHEMA)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(f"{path}: can't be read as events: {error}") from error


def _row(game_id: str, event: Event) -> dict[str, Any]:
    free_throw = event.kind is EventKind.FREE_THROW
    return {
        "game_id": game_id,
        "period": event.period,
        "elapsed_s": event.elapsed,
        "number": event.order,
        "kind": event.kind.value,
        "team": event.team or None,
        "home_score": event.home,
        "away_score": event.away,
        "points": event.points,
        "made": event.made,
        "shot_value": event.value or None,
        "distance_ft": event.distance,
        "free_throw": event.attempt if free_throw else None,
        "free_throws": event.attempts if free_throw else None,
        "detail": event.detail or None,
        "player": event.player or None,
        "other_player": event.other_player or None,
        "possession": event.possession or None,
    }
