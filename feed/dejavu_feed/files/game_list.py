"""Reads a list of games with their NBA ids, dates and results, which the plays of some sources lack.

The list is that of nba_api's LeagueGameLog or LeagueGameFinder, as CSV, parquet or JSON. One of its two
rows of a game is enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Final

from dejavu_common.clock import game_day
from dejavu_feed.errors import DataError
from dejavu_feed.files.plays_format import MAX_SCORE
from dejavu_feed.files.tables import read_rows
from dejavu_feed.game_ids import is_game_id
from dejavu_feed.teams import team_code

_COLUMNS: Final = ("GAME_ID", "GAME_DATE", "MATCHUP")
_RESULT: Final = ("WL", "PTS")
_MATCHUP: Final = re.compile(r"(\S+) (vs\.|@) (\S+)")
_WINS: Final = {"W": True, "L": False}
EXPECTED_DAY: Final = "a date such as 2024-10-22, or a time with its zone"
"""Forms of dates that `day_of` accepts, for error messages."""

_MISSING: Final = ("", "NA", "None", "nan")


@dataclass(slots=True)
class GameInList:
    """A game of a list.

    Attributes:
        game_id: its NBA id.
        day: the local date.
        matchup: the teams as the list names them, for example "GSW @ LAL".
        home, away: NBA codes; empty if a team is not of the NBA.
        neutral: whether both rows have the form "A @ B"; then either team may be the home team.
        points: NBA code → final points, of the teams whose row has them.
        winner: NBA code; empty if the list does not say.
        fault: why the rows of the game contradict each other; empty if they agree.
    """

    game_id: str
    day: date
    matchup: str
    home: str
    away: str
    neutral: bool = False
    points: dict[str, int] = field(default_factory=dict)
    winner: str = ""
    fault: str = ""

    def __str__(self) -> str:
        return f"{self.matchup} on {self.day}, {self.game_id}"


@dataclass(frozen=True, slots=True)
class GameList:
    """Games by NBA id, and by date, home and away team."""

    by_id: Mapping[str, GameInList] = field(default_factory=dict)
    by_teams: Mapping[tuple[date, str, str], GameInList] = field(default_factory=dict)


def nba_id(text: str) -> str:
    """Return an NBA id of ten digits; tables that hold ids as numbers lack the leading zeros.

    Raises:
        ValueError: if the text is no such id.
    """
    padded = text.removesuffix(".0").zfill(10)
    if not is_game_id(padded):
        raise ValueError(f"{text!r}, expected the NBA's id, ten digits")
    return padded


def day_of(value: Any) -> date:
    """Return the local date of a game from a date, an instant, or a text with one of them (ISO 8601).

    An instant has a zone; its `game_day` counts, because a game may end after midnight in US Eastern.

    Raises:
        ValueError: if the value is none of these, or a time of day without a zone, which may be of the next day.
    """
    expected = f"{str(value)[:40]!r}, expected {EXPECTED_DAY}"
    try:
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        if moment.tzinfo is not None:
            return game_day(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        raise ValueError(expected) from None
    if moment.time() != time():
        raise ValueError(expected)
    return moment.date()


def read_game_list(path: Path) -> GameList:
    """Read a list of games.

    Raises:
        DataError: if the file can't be read, or a value is invalid; the message names the line.
    """
    games: dict[str, GameInList] = {}
    for number, (line, row) in enumerate(read_rows(path, _COLUMNS, _RESULT), start=1):
        where = f"{path} row {number}" if line is None else f"{path} line {line}"
        column = "GAME_ID"
        try:
            game_id = nba_id(str(row[column]))
            column = "GAME_DATE"
            day = day_of(row[column])
            column = "MATCHUP"
            matchup = str(row[column])
            team, opponent, at_home = _teams(matchup)
            column = "PTS"
            points = _points(row.get(column))
            column = "WL"
            won = _won(row.get(column))
        except ValueError as error:
            raise DataError(f"{where}: {column} is {error}") from None
        home, away = (team, opponent) if at_home else (opponent, team)
        game = games.setdefault(game_id, GameInList(game_id, day, matchup, home, away))
        if (game.day, {game.home, game.away}) != (day, {home, away}):
            game.fault = f"the list has it as {game} and as {matchup} on {day}"
        elif matchup != game.matchup and "@" in matchup and "@" in game.matchup:
            game.neutral = True
        elif (game.home, game.away) != (home, away):
            game.fault = f"the list has it as {game} and as {matchup}"
        if points is not None and team and game.points.setdefault(team, points) != points:
            game.fault = f"the list has {team} with {game.points[team]} and with {points} points in {game}"
        if won is not None and team:
            winner = team if won else opponent
            if game.winner not in ("", winner):
                game.fault = f"the list has both {game.winner} and {winner} as the winner of {game}"
            game.winner = winner
    return GameList(games, {key: game for game in games.values() if game.home for key in _keys(game)})


def _keys(game: GameInList) -> list[tuple[date, str, str]]:
    keys = [(game.day, game.home, game.away)]
    return [*keys, (game.day, game.away, game.home)] if game.neutral else keys


def _teams(matchup: str) -> tuple[str, str, bool]:
    """Return the team of a row, its opponent, and whether it is at home; no teams if one is not of the NBA.

    Raises:
        ValueError: if the text is not a matchup such as "GSW @ LAL".
    """
    match = _MATCHUP.fullmatch(matchup)
    if match is None:
        raise ValueError(f"{matchup!r}, expected two teams such as GSW @ LAL")
    at_home = match[2] == "vs."
    try:
        return team_code(match[1]), team_code(match[3]), at_home
    except ValueError:
        return "", "", at_home


def _points(value: Any) -> int | None:
    """Return the points of a row; None if it has none, as before a game."""
    text = str(value).removesuffix(".0")
    if value is None or text in _MISSING:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= MAX_SCORE):
        raise ValueError(f"{text[:40]!r}, expected points, 0 to {MAX_SCORE}")
    return int(text)


def _won(value: Any) -> bool | None:
    """Return whether the team of a row won; None if the row does not say."""
    if value is None or str(value) in _MISSING:
        return None
    if not isinstance(value, str) or value not in _WINS:
        raise ValueError(f"{value!r}, expected W or L")
    return _WINS[value]
