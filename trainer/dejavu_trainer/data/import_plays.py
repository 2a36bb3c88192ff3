"""Imports plays from a table, as text or parquet, into plays_{season}.parquet, validating every row.

Problems are reported with row and column. An undetected error would silently give wrong patterns.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from dejavu_feed.errors import DataError
from dejavu_feed.events import Event
from dejavu_feed.game_ids import is_game_id
from dejavu_feed.teams import team_code
from dejavu_trainer.data.games import game_date
from dejavu_trainer.data.plays import COLUMNS, DATE, DATED, MAX_ELAPSED, MAX_SCORE, SCHEMA
from dejavu_trainer.data.tables import read_rows

TYPES = ("RS", "PI", "PO")
"""Regular season, play-in, playoffs."""

SEASON_ENDS = (10, 15)
"""Month and day by which every season has ended."""

# int() and float() also accept True, 1_000 and Arabic digits.
_INTEGER = re.compile(r"[+-]?[0-9]+(\.0*)?", re.ASCII)
_REAL = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """A problem in one row.

    Attributes:
        row: number of the data row, from 1.
        line: line of the file on which the row ends; None for parquet.
        column: name of the column; empty if the problem concerns the whole row.
        message: the invalid value and the expected one.
        file: the file, where there may be several; empty if there is one.
    """

    row: int
    line: int | None
    column: str
    message: str
    file: str = ""

    def located(self, file: Path) -> str:
        """Return the problem with its place in `file`, or in its own file."""
        if not self.file:
            return f"{file}: {self}"
        return f"{self.file} {f'row {self.row}' if self.line is None else f'line {self.line}'}: {self.message}"

    def __str__(self) -> str:
        line = "" if self.line is None else f" (line {self.line})"
        column = f", {self.column}" if self.column else ""
        return f"row {self.row}{line}{column}: {self.message}"


@dataclass(frozen=True, slots=True)
class LeftOutGame:
    """A game of another project's files that is not imported.

    Attributes:
        game_id: its id in the source.
        reason: why.
        contradicts: whether its rows contradict each other or the list of games, other than a game that does not belong
            to the season.
    """

    game_id: str
    reason: str
    contradicts: bool = False


@dataclass(frozen=True, slots=True)
class CheckedPlays:
    """Result of validating an input file.

    Attributes:
        plays: the rows in the columns of dejavu_trainer.data.plays, with dates if the input has them; empty if there
            are problems.
        problems: all problems, by row.
        left_out: games that were not imported.
        unlisted: ids, made of date and home team, of the games that a given list of games does not have.
        events: id and events of the games whose source has them.
    """

    plays: pa.Table
    problems: tuple[ImportProblem, ...]
    left_out: tuple[LeftOutGame, ...] = ()
    unlisted: tuple[str, ...] = ()
    events: tuple[tuple[str, tuple[Event, ...]], ...] = ()


def season_window(season: int) -> tuple[date, date]:
    """Return the first and the last day of a season that ends in a year.

    Seasons begin in late October at the earliest; the season of 2020 ended on 11 October.
    """
    return date(season - 1, 9, 1), date(season, *SEASON_ENDS)


@dataclass(slots=True)
class _Game:
    """State of a game across its rows: labels that must agree, and the latest time."""

    labels: dict[str, Any]
    first_row: int
    elapsed: float


def read_and_check(path: Path, season: int) -> CheckedPlays:
    """Read a file of plays and validate each row alone and against the earlier rows of its game.

    A score may fall (a correction), and `away` may be empty (a game never played, which training excludes). Time must
    not decrease within a game.

    Args:
        path: a table, as `read_rows` reads it.
        season: year in which the season ends; all games must lie in this season.

    Raises:
        DataError: if the file can't be read, lacks a column or has no rows.
    """
    games = dict[str, _Game]()
    problems = list[ImportProblem]()
    plays = list[dict[str, Any]]()
    empty, schema = True, SCHEMA
    for number, (line, row) in enumerate(read_rows(path, COLUMNS, (DATE,)), start=1):
        empty, schema = False, DATED if DATE in row else SCHEMA
        play, messages = _parse(row, season)
        messages = messages or _check_against_game(games, number, play)
        problems += (ImportProblem(number, line, column, message) for column, message in messages)
        if not problems:
            plays.append(play)
    if empty:
        raise DataError(f"{path}: holds no row")
    if problems:
        return CheckedPlays(schema.empty_table(), tuple(problems))
    return CheckedPlays(pa.Table.from_pylist(plays, schema=schema), ())


def _parse(values: dict[str | None, Any], season: int) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Parse the values of a row; return them, and (column, message) for each invalid one."""
    play, messages = dict[str, Any](), list[tuple[str, str]]()
    if None in values:  # DictReader's key for values beyond the last column
        messages.append(("", "has more values than there are columns"))
    for column, parse in _PARSERS.items():
        if column == DATE and DATE not in values:
            continue
        try:
            play[column] = parse(values[column])
        except ValueError as error:
            messages.append((column, str(error)))
    return play, messages or _inconsistencies(play, season)


def _inconsistencies(play: dict[str, Any], season: int) -> list[tuple[str, str]]:
    """Check that the valid values of a row are consistent; fill in its date if there is a date column."""
    messages = list[tuple[str, str]]()
    home = play["home"]
    try:
        day = game_date(play["game_id"], play.get(DATE))
    except ValueError as error:
        return [(DATE, str(error))]
    if DATE in play:
        play[DATE] = day
    if not is_game_id(play["game_id"]) and team_code(play["game_id"][-3:]) != team_code(home):
        messages.append(("home", f"{home!r} is not the team that the game's id {play['game_id']} ends in"))
    if play["away"] is not None and team_code(play["away"]) == team_code(home):
        messages.append(("away", f"{play['away']!r} plays against itself"))
    first, last = season_window(season)
    if not first <= day <= last:
        messages.append(("game_id", f"{day} is not in the season that ends in {season}"))
    return messages


def _check_against_game(games: dict[str, _Game], number: int, play: dict[str, Any]) -> list[tuple[str, str]]:
    """Check a row against the earlier rows of its game, and update the state of the game."""
    labels = {column: play[column] for column in ("type", "home", "away", DATE) if column in play}
    game = games.setdefault(play["game_id"], _Game(labels, number, 0.0))
    messages = [
        (column, f"{value!r}, but {game.labels[column]!r} in row {game.first_row} of the same game")
        for column, value in labels.items()
        if value != game.labels[column]
    ]
    if play["elapsed_s"] < game.elapsed:
        messages.append(("elapsed_s", f"{play['elapsed_s']:g} after {game.elapsed:g} in the same game: time runs back"))
    game.elapsed = max(game.elapsed, play["elapsed_s"])
    return messages


def _text(value: Any) -> str:
    if value is None or value == "":
        raise ValueError("is missing")
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value.strip()


def _id(value: Any) -> str:
    text = _text(value)
    if not is_game_id(text):
        game_date(text)
        team_code(text[-3:])
    return text


def _date(value: Any) -> date | None:
    """Parse a date; None if empty, since the game id may contain it."""
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


def _score(value: Any) -> int:
    return int(_number(value, _INTEGER, MAX_SCORE, "a whole number of points"))


def _number(value: Any, pattern: re.Pattern[str], maximum: float, expected: str) -> float:
    if value is None or value == "":
        raise ValueError("is missing")
    text = str(value).strip()
    number = float(text) if pattern.fullmatch(text) else -1.0
    if not 0 <= number <= maximum:
        raise ValueError(f"{value!r}; expected {expected}, 0 to {maximum}")
    return number


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "game_id": _id,
    "type": _type,
    "home": _team,
    "away": lambda value: None if value in (None, "") else _team(value),
    "elapsed_s": lambda value: _number(value, _REAL, MAX_ELAPSED, "game seconds since tip-off"),
    DATE: _date,
    "home_score": _score,
    "away_score": _score,
}
