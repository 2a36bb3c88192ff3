"""Plays from elsewhere: a CSV or parquet file, checked row by row, becomes plays_{season}.parquet.

A fault found here has a row and a name; a fault let through would be a pattern that is quietly wrong.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from dejavu_feed.names import is_game_id, team_code
from dejavu_trainer.data.games import game_date
from dejavu_trainer.data.plays import COLUMNS, DATE, DATED, MAX_ELAPSED, MAX_SCORE, SCHEMA, DataError

TYPES = ("RS", "PI", "PO")
"""Regular season, play-in, playoffs."""

# What int() and float() take for numbers is more: True, 1_000, Arabic digits.
_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?", re.ASCII)
_REAL = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """What is wrong in one row.

    Attributes:
        row: number among the rows of data, from 1.
        line: line of the file on which the row ends; None for parquet, which has no lines.
        column: name of the column; empty if it is the row as a whole.
        message: what was found and what was expected.
    """

    row: int
    line: int | None
    column: str
    message: str

    def __str__(self) -> str:
        line = "" if self.line is None else f" (line {self.line})"
        column = f", {self.column}" if self.column else ""
        return f"row {self.row}{line}{column}: {self.message}"


@dataclass(frozen=True, slots=True)
class CheckedPlays:
    """An input after its check: usable if there are no problems.

    Attributes:
        plays: the rows, in the columns of dejavu_trainer.data.plays, with dates if the input has them; none if there
            are problems.
        problems: in order of row.
    """

    plays: pa.Table
    problems: tuple[ImportProblem, ...]


class _Row(NamedTuple):
    number: int
    line: int | None
    values: dict[str | None, Any]


@dataclass(slots=True)
class _Game:
    """What the rows of a game must agree on, and how far they have come."""

    labels: dict[str, Any]
    first_row: int
    elapsed: float


def read_and_check(path: Path, season: int) -> CheckedPlays:
    """Reads a file of plays and checks each row by itself and against the rows of its game before it.

    A score may fall (a correction), and `away` may be empty (a game never played, which training leaves out). Time may
    not run back within a game.

    Args:
        path: CSV if it ends in .csv, else parquet.
        season: the year in which the season ends; all games must lie in it.

    Raises:
        DataError: if the file can't be read, lacks a column or holds no row.
    """
    games = dict[str, _Game]()
    problems = list[ImportProblem]()
    columns: dict[str, list[Any]] = {column: [] for column in DATED.names}
    empty, schema = True, SCHEMA
    for row in _csv_rows(path) if path.suffix.lower() == ".csv" else _parquet_rows(path):
        empty, schema = False, DATED if DATE in row.values else SCHEMA
        play, faults = _parse(row.values, season)
        faults = faults or _follow(games, row.number, play)
        problems += (ImportProblem(row.number, row.line, column, message) for column, message in faults)
        if not problems:
            for column, values in columns.items():
                values.append(play.get(column))
    if empty:
        raise DataError(f"{path}: holds no row")
    if problems:
        return CheckedPlays(schema.empty_table(), tuple(problems))
    return CheckedPlays(pa.table({name: columns[name] for name in schema.names}, schema=schema), ())


def _csv_rows(path: Path) -> Iterator[_Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _require_columns(path, reader.fieldnames or ())
            for number, values in enumerate(reader, start=1):
                yield _Row(number, reader.line_num, dict(values))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: can't be read as CSV: {error}") from error


def _parquet_rows(path: Path) -> Iterator[_Row]:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: can't be read as parquet: {error}") from error
    _require_columns(path, table.column_names)
    wanted = [column for column in DATED.names if column in table.column_names]
    for number, values in enumerate(table.select(wanted).to_pylist(), start=1):
        yield _Row(number, None, values)


def _require_columns(path: Path, found: Any) -> None:
    missing = [column for column in COLUMNS if column not in found]
    if missing:
        raise DataError(f"{path}: lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}")


def _parse(values: dict[str | None, Any], season: int) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The values of a row as they should be, and (column, message) for each that can't be."""
    play, faults = dict[str, Any](), list[tuple[str, str]]()
    if None in values:  # where DictReader puts what is beyond the last column
        faults.append(("", "has more values than there are columns"))
    for column, parse in _PARSERS.items():
        if column == DATE and DATE not in values:
            continue
        try:
            play[column] = parse(values[column])
        except ValueError as error:
            faults.append((column, str(error)))
    return play, faults or _contradictions(play, season)


def _contradictions(play: dict[str, Any], season: int) -> list[tuple[str, str]]:
    """What does not fit together in a row whose values are good each by itself; gives it its date where it has one."""
    faults = list[tuple[str, str]]()
    home = play["home"]
    try:
        day = game_date(play["game_id"], play.get(DATE))
    except ValueError as error:
        return [(DATE, str(error))]
    if DATE in play:
        play[DATE] = day
    if not is_game_id(play["game_id"]) and team_code(play["game_id"][-3:]) != team_code(home):
        faults.append(("home", f"{home!r} is not the team that the game's id {play['game_id']} ends in"))
    if play["away"] is not None and team_code(play["away"]) == team_code(home):
        faults.append(("away", f"{play['away']!r} plays against itself"))
    # Openings lie in late October at the earliest; the season of 2020 ended on 11 October.
    if not date(season - 1, 9, 1) <= day <= date(season, 10, 15):
        faults.append(("game_id", f"{day} is not in the season that ends in {season}"))
    return faults


def _follow(games: dict[str, _Game], number: int, play: dict[str, Any]) -> list[tuple[str, str]]:
    """Holds a row against the rows of its game before it, and remembers it."""
    labels = {column: play[column] for column in ("type", "home", "away", DATE) if column in play}
    game = games.setdefault(play["game_id"], _Game(labels, number, 0.0))
    faults = [
        (column, f"{value!r}, but {game.labels[column]!r} in row {game.first_row} of the same game")
        for column, value in labels.items()
        if value != game.labels[column]
    ]
    if play["elapsed_s"] < game.elapsed:
        faults.append(("elapsed_s", f"{play['elapsed_s']:g} after {game.elapsed:g} in the same game: time runs back"))
    game.elapsed = max(game.elapsed, play["elapsed_s"])
    return faults


def _text(value: Any) -> str:
    if value is None or value == "":
        raise ValueError("is missing")
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value.strip()


def _id(value: Any) -> str:
    text = _text(value)
    if not is_game_id(text):
        game_date(text)
        team_code(text[-3:])
    return text


def _date(value: Any) -> date | None:
    """A date; None where there is none: an id may begin with it."""
    if value is None or value == "":
        return None
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(_text(value))
    except ValueError:
        raise ValueError(f"{value!r}; expected a date such as 2024-10-22") from None


def _type(value: Any) -> str:
    text = _text(value)
    if text not in TYPES:
        raise ValueError(f"{text!r}; expected one of {', '.join(TYPES)}")
    return text


def _team(value: Any) -> str:
    text = _text(value)
    team_code(text)
    return text


def _elapsed(value: Any) -> float:
    return _number(value, _REAL, MAX_ELAPSED, "game seconds since tip-off")


def _score(value: Any) -> int:
    return int(_number(value, _WHOLE, MAX_SCORE, "a whole number of points"))


def _number(value: Any, form: re.Pattern[str], most: float, expected: str) -> float:
    if value is None or value == "":
        raise ValueError("is missing")
    text = str(value).strip()
    number = float(text) if form.fullmatch(text) else -1.0
    if not 0 <= number <= most:
        raise ValueError(f"{value!r}; expected {expected}, 0 to {most}")
    return number


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "game_id": _id,
    "type": _type,
    "home": _team,
    "away": lambda value: None if value in (None, "") else _team(value),
    "elapsed_s": _elapsed,
    DATE: _date,
    "home_score": _score,
    "away_score": _score,
}
