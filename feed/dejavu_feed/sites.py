"""Where games are played: home cities, with time zone and altitude, and neutral sites, at which no team is at home."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

BUBBLE: Final = (date(2020, 7, 30), date(2020, 10, 11))
"""First and last day of the part of the season 2019–20 that was played entirely near Orlando."""

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


_PLACES: Final = {
    "London": "2014-01-16 ATL BKN, 2015-01-15 MIL NYK, 2016-01-14 ORL TOR, 2017-01-12 DEN IND, 2018-01-11 BOS PHI, "
    "2019-01-17 NYK WAS",
    "Mexico City": "2014-11-12 HOU MIN, 2015-12-03 BOS SAC, 2017-01-12 DAL PHX, 2017-01-14 PHX SAS, "
    "2017-12-07 BKN OKC, 2017-12-09 BKN MIA, 2018-12-13 CHI ORL, 2018-12-15 ORL UTA, 2019-12-12 DAL DET, "
    "2019-12-14 PHX SAS, 2022-12-17 MIA SAS, 2023-11-09 ATL ORL, 2024-11-02 MIA WAS",
    "Paris": "2020-01-24 CHA MIL, 2023-01-19 CHI DET, 2024-01-11 BKN CLE, 2025-01-23 IND SAS, 2025-01-25 IND SAS",
    "Las Vegas": "2023-12-07 IND MIL, 2023-12-07 LAL NOP, 2023-12-09 IND LAL, 2024-12-14 ATL MIL, 2024-12-14 HOU OKC, "
    "2024-12-17 MIL OKC",
}
"""Place → games of the seasons 2013–14 to 2024–25: local date, and both teams in alphabetical order."""


def _listed() -> Iterator[tuple[date, frozenset[str]]]:
    for games in _PLACES.values():
        for game in games.split(", "):
            day, *teams = game.split()
            yield date.fromisoformat(day), frozenset(teams)


_GAMES: Final = frozenset(_listed())


def is_neutral(home: str, away: str, day: date | None, given: bool | None = None) -> bool:
    """Return whether a game is at a neutral site.

    Args:
        home: NBA code of the nominal home team.
        away: NBA code of the away team; listed games also match the other way round.
        day: local date of the game; None if it is not known.
        given: whether it is at a neutral site according to another source; None: only the list here decides, which has
            no games before 2013 or after 2025.
    """
    if given is not None:
        return given
    return day is not None and (BUBBLE[0] <= day <= BUBBLE[1] or (day, frozenset((home, away))) in _GAMES)
