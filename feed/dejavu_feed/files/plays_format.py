"""Format of files of plays: names and bounds of the columns, and the dates of games. docs/training.md describes it."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Final

from dejavu_feed.game_ids import is_game_id

COLUMNS: Final = ("game_id", "type", "home", "away", "elapsed_s", "home_score", "away_score")
"""Columns that every file has: one row per change of the score, the rows of a game in chronological order."""

DATE: Final = "game_date"
"""Column of the local date of each game, which an id of the NBA does not contain."""

TYPES: Final = ("RS", "PI", "PO")
"""Regular season, play-in, playoffs."""

MAX_ELAPSED: Final = 4 * 720 + 20 * 300
"""Upper bound of elapsed_s, in game seconds: twenty overtimes; the longest NBA game had six."""

MAX_SCORE: Final = 400
"""Upper bound of one team's score, in points; the record is 186."""

_GAME_ID: Final = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})0[A-Z]{3}", re.ASCII)

_SEASON_ENDS: Final = (10, 15)
"""Month and day by which every season has ended."""


def season_window(season: int) -> tuple[date, date]:
    """Return the first and the last day of a season that ends in a year.

    Seasons begin in late October at the earliest; the season of 2020 ended on 11 October.
    """
    return date(season - 1, 9, 1), date(season, *_SEASON_ENDS)


def season_of_day(day: date) -> int:
    """Return the first season whose window contains a day, as the year in which it ends."""
    return day.year + ((day.month, day.day) > _SEASON_ENDS)


@lru_cache(maxsize=4096)
def game_date(game_id: str, given: date | None = None) -> date:
    """Return the local date of a game, from its id or from a given date.

    Args:
        game_id: yyyymmdd + 0 + home team's code, or the NBA's ten digits, which contain no date.
        given: the date from the column game_date; required for an id of the NBA.

    Raises:
        ValueError: if the id is malformed or has an invalid date, or the given date is missing or contradicts the id.
    """
    if is_game_id(game_id):
        if given is None:
            raise ValueError(f"{game_id!r}, an id of the NBA, contains no date; expected one in a column {DATE}")
        return given
    match = _GAME_ID.fullmatch(game_id)
    if match is None:
        raise ValueError(
            f"{game_id!r} is not a game id; expected yyyymmdd, 0 and the home team's code, or the NBA's ten digits"
        )
    try:
        from_id = date(*map(int, match.groups()))
    except ValueError:
        raise ValueError(f"{game_id!r} does not begin with a date") from None
    if given not in (None, from_id):
        raise ValueError(f"{game_id!r} begins with a date other than {given}")
    return from_id
