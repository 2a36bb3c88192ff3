"""Reads files of plays in this project's format, validating every row. docs/training.md describes the format.

Problems are reported with row and column. An undetected error would silently give wrong patterns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from dejavu_feed.errors import DataError
from dejavu_feed.files.checked_games import MAX_PROBLEMS, CheckedGames, GameInFiles, RowProblem, no_game_of
from dejavu_feed.files.plays_format import COLUMNS, DATE, MAX_ELAPSED, MAX_SCORE, TYPES, game_date, season_window
from dejavu_feed.files.tables import Row, read_rows
from dejavu_feed.game_ids import game_id_of, is_game_id
from dejavu_feed.pattern import Score
from dejavu_feed.teams import team_code

# int() and float() also accept True, 1_000 and Arabic digits.
_INTEGER: Final = re.compile(r"[+-]?[0-9]+(\.0*)?", re.ASCII)
_REAL: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)

_LABELS: Final = ("type", "home", "away", DATE)
"""Columns that must agree in all rows of a game."""


@dataclass(slots=True)
class _Game:
    """State of a game across its rows.

    Attributes:
        labels: values of `_LABELS` in the first row.
        first_row: number of the first row.
        scores: the scores that are kept; none is earlier than the one before.
        again: whether the rows have gone back in time and repeat earlier ones.
    """

    labels: dict[str, Any]
    first_row: int
    scores: list[Score] = field(default_factory=list)
    seen: set[Score] = field(default_factory=set)
    again: bool = False

    def add(self, score: Score) -> str:
        """Add a score, unless it repeats an earlier one; return the problem with its time, or ""."""
        latest = self.scores[-1].elapsed if self.scores else 0.0
        if score.elapsed != latest:
            self.again = score.elapsed < latest
        if self.again and score in self.seen:
            return ""
        if score.elapsed < latest:
            return f"{score.elapsed:g} after {latest:g} in the same game: time runs back"
        self.scores.append(score)
        self.seen.add(score)
        return ""


def read_own_format(path: Path, season: int, day: date | None = None) -> CheckedGames:
    """Read a file of plays and validate each row alone and against the earlier rows of its game.

    A score may fall (a correction), and `away` may be empty (a game never played, which training excludes). Time must
    not decrease within a game, except in rows that repeat earlier ones, as where pages overlap: those are dropped.

    Args:
        path: a table, as `read_rows` reads it.
        season: year in which the season ends; all games must lie in this season.
        day: read and validate only the rows of the games of this local date; None: all rows.

    Returns:
        The games in the order of their first rows, or the problems.

    Raises:
        DataError: if the file can't be read, lacks a column, has no rows, or has no row of the day.
        FeedNotInstalled: if the file is parquet, and pyarrow is missing.
    """
    games: dict[str, _Game] = {}
    problems: list[RowProblem] = []
    for number, line, values in _rows(path) if day is None else _of_day(path, day):
        play, messages = _parse(values, season)
        messages = messages or _add(games, number, play)
        problems += (RowProblem(number, line, column, message) for column, message in messages)
        if len(problems) >= MAX_PROBLEMS:
            break
    if problems:
        return CheckedGames((), tuple(problems))
    if not games:
        raise DataError(f"{path}: holds no row")
    return CheckedGames(tuple(_game(game_id, game) for game_id, game in games.items()))


def _game(game_id: str, game: _Game) -> GameInFiles:
    phase, home, away, day = (game.labels[column] for column in _LABELS)
    return GameInFiles(game_id, phase, day, home, away, tuple(game.scores))


def _rows(path: Path) -> Iterator[Row]:
    return read_rows(path, COLUMNS, (DATE,))


def _of_day(path: Path, day: date) -> Iterator[Row]:
    """Yield the rows of a day, before they are validated: a season is large.

    A row is of the day if its date or its id says so; if they contradict each other, validation finds it.

    Raises:
        DataError: if the file has no such row; it names the days that it has.
    """
    of_day: dict[tuple[str, str], bool] = {}  # by id and date
    for row in _rows(path):
        key = (str(row.values.get("game_id")).strip(), str(row.values.get(DATE) or "").strip())
        if key not in of_day:
            of_day[key] = key[0].startswith(f"{day:%Y%m%d}") or key[1].startswith(f"{day}")
        if of_day[key]:
            yield row
    if not any(of_day.values()):
        raise no_game_of(day, path, _days(of_day))


def _days(keys: Mapping[tuple[str, str], bool]) -> set[date]:
    """Return the valid dates of games, each from its id and the text of its date."""
    days: set[date] = set()
    for game_id, text in keys:
        with suppress(ValueError):
            days.add(game_date(game_id, _date(text)))
    return days


def _parse(values: Mapping[str | None, Any], season: int) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Parse the values of a row; return them, and (column, message) for each invalid one."""
    play: dict[str, Any] = {}
    messages: list[tuple[str, str]] = []
    if None in values:  # DictReader's key for values beyond the last column
        messages.append(("", "has more values than there are columns"))
    for column, parse in _PARSERS.items():
        try:
            play[column] = parse(values.get(column))
        except ValueError as error:
            messages.append((column, str(error)))
    return play, messages or _inconsistencies(play, season)


def _inconsistencies(play: dict[str, Any], season: int) -> list[tuple[str, str]]:
    """Check that the valid values of a row are consistent; fill in its date."""
    messages: list[tuple[str, str]] = []
    home = play["home"]
    try:
        day = play[DATE] = game_date(play["game_id"], play[DATE])
    except ValueError as error:
        return [(DATE, str(error))]
    if not is_game_id(play["game_id"]) and team_code(play["game_id"][-3:]) != team_code(home):
        messages.append(("home", f"{home!r} is not the team that the game's id {play['game_id']} ends in"))
    if play["away"] is not None and team_code(play["away"]) == team_code(home):
        messages.append(("away", f"{play['away']!r} plays against itself"))
    first, last = season_window(season)
    if not first <= day <= last:
        messages.append(("game_id", f"{day} is not in the season that ends in {season}"))
    return messages


def _add(games: dict[str, _Game], number: int, play: dict[str, Any]) -> list[tuple[str, str]]:
    """Add a row to its game; return (column, message) for each contradiction with earlier rows."""
    labels = {column: play[column] for column in _LABELS}
    game = games.get(play["game_id"])
    if game is None:
        game = games[play["game_id"]] = _Game(labels, number)
    messages = [
        (column, f"{value!r}, but {game.labels[column]!r} in row {game.first_row} of the same game")
        for column, value in labels.items()
        if value != game.labels[column]
    ]
    if wrong := game.add(Score(play["elapsed_s"], play["home_score"], play["away_score"])):
        messages.append(("elapsed_s", wrong))
    return messages


def _text(value: Any) -> str:
    if value in (None, ""):
        raise ValueError("is missing")
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value.strip()


def _id(value: Any) -> str:
    text = game_id_of(value if isinstance(value, int) else _text(value))
    if not is_game_id(text):
        game_date(text)
        team_code(text[-3:])
    return text


def _date(value: Any) -> date | None:
    """Parse a date; None if empty, since the game id may contain it."""
    if value in (None, ""):
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
    if value in (None, ""):
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
