"""Format of files of events: one row per event, in parquet. docs/data.md describes the columns.

pyarrow (extras `live` and `trainer`) is imported on first use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dejavu_common.files import atomic_replace, open_regular
from dejavu_feed.errors import DataError, not_installed
from dejavu_feed.events import Event, EventKind

if TYPE_CHECKING:
    import pyarrow as pa


_SECOND: Final = 2
_FOURTH: Final = 4
_KINDS: Final = {kind.value: kind for kind in EventKind}
_COLUMNS: Final = {
    "period": ("int8", "period", False),
    "elapsed_s": ("float64", "elapsed", False),
    "number": ("int64", "order", False),
    "kind": ("name", "kind", False),
    "team": ("name", "team", True),
    "home_score": ("int16", "home", False),
    "away_score": ("int16", "away", False),
    "points": ("int8", "points", False),
    "made": ("bool_", "made", False),
    "shot_value": ("int8", "value", True),
    "distance_ft": ("float32", "distance", False),
    "free_throw": ("int8", "attempt", False),
    "free_throws": ("int8", "attempts", False),
    "detail": ("name", "detail", True),
    "player": ("int64", "player", True),
    "other_player": ("int64", "other_player", True),
    "possession": ("name", "possession", True),
    "shot_in_air": ("bool_", "shot_in_air", False),
}
"""Column → its type ("name": a dictionary of texts), the field of `Event`, and whether 0 or empty is null."""

_OF_LATE_EVENTS: Final = (
    "game_id", "period", "elapsed_s", "kind", "team", "home_score", "away_score", "made", "free_throw", "free_throws",
    "detail", "possession", "shot_in_air",
)  # fmt: skip


def event_schema() -> pa.Schema:
    """Return the columns and their types.

    Raises:
        FeedNotInstalled: if pyarrow is missing.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise not_installed(error, "files of events need") from error
    types = {"name": pa.dictionary(pa.int16(), pa.string())}
    columns = {column: types.get(kind) or getattr(pa, kind)() for column, (kind, *_) in _COLUMNS.items()}
    return pa.schema({"game_id": types["name"], **columns})


def write_events(path: Path, games: Iterable[tuple[str, Sequence[Event]]]) -> None:
    """Write the events of games, by id, atomically and in the given order.

    Raises:
        FeedNotInstalled: if pyarrow is missing.
        OSError: if the file cannot be written.
    """
    table = event_table(games)
    from pyarrow import parquet  # noqa: PLC0415 - an extra

    with atomic_replace(path) as new:
        parquet.write_table(table, new, compression="zstd")


def event_table(games: Iterable[tuple[str, Sequence[Event]]]) -> pa.Table:
    """Return the events of games, by id, in the given order; values that do not apply are null.

    Raises:
        FeedNotInstalled: if pyarrow is missing.
    """
    schema = event_schema()
    import pyarrow as pa  # noqa: PLC0415 - an extra

    # Game by game, since the rows of a whole season as objects take most of a gigabyte.
    rows_by_game = ([_row(game_id, event) for event in events] for game_id, events in games)
    tables = (pa.Table.from_pylist(rows, schema=schema) for rows in rows_by_game)
    return pa.concat_tables([schema.empty_table(), *tables])


def read_events(path: Path) -> pa.Table:
    """Read a file of events.

    Raises:
        DataError: if the file cannot be read, or is not one of events.
        FeedNotInstalled: if pyarrow is missing.
    """
    schema = event_schema()
    import pyarrow as pa  # noqa: PLC0415 - an extra
    from pyarrow import parquet  # noqa: PLC0415

    try:
        with open_regular(path, follow_links=True) as file:
            return parquet.read_table(file, columns=schema.names).cast(schema)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(f"{path}: can't be read as events: {error}") from error


def late_events(path: Path) -> dict[str, list[Event]]:
    """Read the events of the second quarter, the fourth and overtimes, by game id, in order.

    Of each event: its time, kind, team, score, free throws, detail, and the possession after it.

    Raises:
        DataError: if the file cannot be read, or is not one of events.
        FeedNotInstalled: if pyarrow is missing.
    """
    table = read_events(path)
    import pyarrow.compute as pc  # noqa: PLC0415 - an extra

    table = table.filter((pc.field("period") == _SECOND) | (pc.field("period") >= _FOURTH))
    columns = (table[name].to_pylist() for name in _OF_LATE_EVENTS)
    result: dict[str, list[Event]] = {}
    for game_id, period, elapsed, kind, team, home, away, made, attempt, attempts, detail, ball, in_air in zip(
        *columns, strict=True
    ):
        event = Event(
            period, elapsed, 0, _KINDS[kind], team or "", home, away, made, attempt=attempt or 0,
            attempts=attempts or 0, detail=detail or "", possession=ball or "", shot_in_air=bool(in_air),
        )  # fmt: skip
        result.setdefault(game_id, []).append(event)
    return result


def count_events(path: Path) -> int:
    """Return the number of events in a file; 0 if there is none that can be read.

    Raises:
        FeedNotInstalled: if pyarrow is missing.
    """
    event_schema()
    import pyarrow as pa  # noqa: PLC0415 - an extra
    from pyarrow import parquet  # noqa: PLC0415

    try:
        with open_regular(path, follow_links=True) as file:
            return int(parquet.read_metadata(file).num_rows)
    except (pa.ArrowException, OSError):
        return 0


def _row(game_id: str, event: Event) -> dict[str, Any]:
    values = {column: (getattr(event, of), empty) for column, (_, of, empty) in _COLUMNS.items()}
    row = {column: value if value or not empty else None for column, (value, empty) in values.items()}
    if event.kind is not EventKind.FREE_THROW:  # of a foul, they are what it gives
        row |= {"free_throw": None, "free_throws": None}
    return {**row, "game_id": game_id, "kind": event.kind.value}
