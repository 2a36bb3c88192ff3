"""The summers between two seasons, in which no games are played and teams' ratings do not age."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

_BEGINS: Final = (6, 15)
_ENDS: Final = (10, 20)
"""Month and day of the first and the last day of a usual summer. The Finals of 2015 to 2025, except for the summers
listed below, ended between 8 and 22 June, and the next seasons began between 16 and 27 October."""

_FINALS: Final = timedelta(days=14)
"""Minimum duration of the Finals before a summer begins."""

_UNUSUAL: Final = {
    1998: (date(1998, 6, 15), date(1999, 2, 4)),  # lockout
    2011: (date(2011, 6, 15), date(2011, 12, 24)),  # lockout
    2020: (date(2020, 10, 12), date(2020, 12, 21)),  # the season had been interrupted from March to July
    2021: (date(2021, 7, 21), date(2021, 10, 18)),
}
"""Summers at other times, by the year in which the season before ended."""

_INTERRUPTION: Final = (date(2020, 3, 12), date(2020, 7, 29))
"""First and last day of the only interruption of a season that lasted more than ten days."""


def summer(year: int) -> tuple[date, date]:
    """Return the first and the last day of the summer after the season that ends in a year."""
    return _UNUSUAL.get(year) or (date(year, *_BEGINS), date(year, *_ENDS))


def is_over(season: int, newest: date) -> bool:
    """Return whether a season is over, judging by its newest game, which must be as late as the Finals.

    Args:
        season: the year in which it ends.
        newest: local date of the newest known game of the season.
    """
    return newest > summer(season)[0] - _FINALS


@lru_cache(maxsize=1024)
def season_on(day: date) -> int:
    """Return the season that a day belongs to, as the year in which it ends; a new one begins in mid-summer.

    So the games of a season whose Finals end late, or that begins early, still belong to it. If a game has an id of the
    NBA, the id names its season (`game_ids.season_of`); this function is for records that have only a date.
    """
    first, last = summer(day.year)
    return day.year + (day > first + (last - first) / 2)


def playing_days(after: date, until: date) -> int:
    """Return the number of days after `after` and up to `until`, without summers; 0 if `until` is not later."""
    return _days_without(after, until, map(summer, range(after.year - 1, until.year + 1)))


def days_with_games(after: date, until: date) -> int:
    """Return the number of `playing_days`, without the days of the interruption of 2020."""
    return _days_without(after, until, (_INTERRUPTION, *map(summer, range(after.year - 1, until.year + 1))))


def _days_without(after: date, until: date, pauses: Iterable[tuple[date, date]]) -> int:
    days = max(0, (until - after).days)
    for first, last in pauses:
        days -= max(0, (min(last, until) - max(first - timedelta(days=1), after)).days)
    return days


@lru_cache(maxsize=64)
def days_around(day: date, most: int) -> tuple[date, date]:
    """Return the first and the last day that are at most a number of playing days from a day."""
    # A year has more than 200 playing days, except the years of lockouts; and `day` can be in a summer.
    enough = range(2 * most + 800)
    before = bisect_right(enough, most, key=lambda days: playing_days(day - timedelta(days), day)) - 1
    after = bisect_right(enough, most, key=lambda days: playing_days(day, day + timedelta(days))) - 1
    return day - timedelta(before), day + timedelta(after)
