"""Home cities of the teams of the NBA: time zone and altitude of each."""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from dejavu_feed.neutral_sites import BUBBLE

_EASTERN, _CENTRAL, _MOUNTAIN, _PACIFIC = -5, -6, -7, -8


class HomeCity(NamedTuple):
    """A city in which a team plays at home.

    Attributes:
        utc_offset: offset of its standard time from UTC, in hours.
        altitude: altitude above sea level, in metres; accurate to some ten metres, more precise for high cities.
        has_summer_time: whether clocks are changed twice a year.
    """

    utc_offset: int
    altitude: int
    has_summer_time: bool = True


HOME_CITIES: Final = {
    "ATL": HomeCity(_EASTERN, 320),
    "BKN": HomeCity(_EASTERN, 10),
    "BOS": HomeCity(_EASTERN, 10),
    "CHA": HomeCity(_EASTERN, 230),
    "CHI": HomeCity(_CENTRAL, 180),
    "CLE": HomeCity(_EASTERN, 200),
    "DAL": HomeCity(_CENTRAL, 130),
    "DEN": HomeCity(_MOUNTAIN, 1609),
    "DET": HomeCity(_EASTERN, 180),
    "GSW": HomeCity(_PACIFIC, 10),
    "HOU": HomeCity(_CENTRAL, 20),
    "IND": HomeCity(_EASTERN, 220),
    "LAC": HomeCity(_PACIFIC, 90),
    "LAL": HomeCity(_PACIFIC, 90),
    "MEM": HomeCity(_CENTRAL, 100),
    "MIA": HomeCity(_EASTERN, 0),
    "MIL": HomeCity(_CENTRAL, 190),
    "MIN": HomeCity(_CENTRAL, 250),
    "NOP": HomeCity(_CENTRAL, 0),
    "NYK": HomeCity(_EASTERN, 10),
    "OKC": HomeCity(_CENTRAL, 370),
    "ORL": HomeCity(_EASTERN, 30),
    "PHI": HomeCity(_EASTERN, 10),
    "PHX": HomeCity(_MOUNTAIN, 330, has_summer_time=False),
    "POR": HomeCity(_PACIFIC, 20),
    "SAC": HomeCity(_PACIFIC, 10),
    "SAS": HomeCity(_CENTRAL, 200),
    "TOR": HomeCity(_EASTERN, 80),
    "UTA": HomeCity(_MOUNTAIN, 1288),
    "WAS": HomeCity(_EASTERN, 10),
}
"""NBA code → city, as since 2008; a game abroad counts as played in the home team's city."""


def host_city(home: str, day: date) -> str:
    """Return the code of the team in whose city a game is played.

    Args:
        home: NBA code of the home team.
        day: local date of the game.
    """
    return "ORL" if BUBBLE[0] <= day <= BUBBLE[1] else home


def utc_offset(code: str, day: date) -> int:
    """Return the offset of a team's city from UTC on the evening of a day, in hours.

    Raises:
        KeyError: if `code` is not an NBA code.
    """
    city = HOME_CITIES[code]
    return city.utc_offset + (city.has_summer_time and _is_summer_time(day))


def _is_summer_time(day: date) -> bool:
    """Return whether it is summer time in the US and Canada: second Sunday of March to the first of November."""
    return _first_sunday(day.year, 3) + timedelta(7) <= day < _first_sunday(day.year, 11)


@lru_cache(maxsize=256)
def _first_sunday(year: int, month: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(6 - first.weekday())
