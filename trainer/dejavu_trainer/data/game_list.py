"""Reads a list of games with their NBA ids and dates, which the plays of some sources lack.

The list is that of nba_api's LeagueGameLog or LeagueGameFinder, as CSV, parquet or JSON. One of its two
rows of a game is enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from dejavu_feed.game_ids import is_game_id
from dejavu_feed.teams import team_code
from dejavu_trainer.data.plays import DataError
from dejavu_trainer.data.tables import read_rows

_COLUMNS: Final = ("GAME_ID", "GAME_DATE", "MATCHUP")
_MATCHUP: Final = re.compile(r"(\S+) (vs\.|@) (\S+)")


class GameInList(NamedTuple):
    """A game: its NBA id, local date and teams, as NBA codes; the teams are empty if they are not of the NBA."""

    game_id: str
    day: date
    home: str
    away: str


@dataclass(frozen=True, slots=True)
class GameList:
    """Games by NBA id, and by date and teams."""

    by_id: Mapping[str, GameInList] = field(default_factory=dict)
    by_teams: Mapping[tuple[date, str, str], str] = field(default_factory=dict)


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
    """Return the date of a value: a date, a time, or a text that begins with one as YYYY-MM-DD.

    Raises:
        ValueError: if the value is none of these.
    """
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        raise ValueError(f"{value!r}, expected a date such as 2024-10-22") from None


def read_game_list(path: Path) -> GameList:
    """Read a list of games.

    Raises:
        DataError: if the file can't be read, or a value is invalid; the message names the line.
    """
    games: dict[str, GameInList] = {}
    for number, (line, row) in enumerate(read_rows(path, _COLUMNS), start=1):
        where = f"{path} row {number}" if line is None else f"{path} line {line}"
        column = "GAME_ID"
        try:
            game_id = nba_id(str(row[column]))
            column = "GAME_DATE"
            day = day_of(row[column])
            column = "MATCHUP"
            home, away = _teams(str(row[column]))
        except ValueError as error:
            raise DataError(f"{where}: {column} is {error}") from None
        games.setdefault(game_id, GameInList(game_id, day, home, away))
    by_teams = {(game.day, game.home, game.away): game.game_id for game in games.values() if game.home}
    return GameList(games, by_teams)


def _teams(matchup: str) -> tuple[str, str]:
    """Return the home and the away team of a matchup such as "GSW @ LAL"; both empty if one is not of the NBA.

    Raises:
        ValueError: if the text is not a matchup.
    """
    match = _MATCHUP.fullmatch(matchup)
    if match is None:
        raise ValueError(f"{matchup!r}, expected two teams such as GSW @ LAL")
    try:
        first, second = team_code(match[1]), team_code(match[3])
    except ValueError:
        return "", ""
    return (first, second) if match[2] == "vs." else (second, first)
