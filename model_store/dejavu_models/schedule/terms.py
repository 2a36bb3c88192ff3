"""Terms of a game by which its expected margin and total differ from those of the same teams on another day.

Training and servers compute them here, from the same `ScheduleHistory`. docs/evaluation.md names further terms that
gained nothing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from dejavu_feed.sites import HOME_CITIES
from dejavu_models.schedule.history import GameSchedule, TeamSchedule

HIGH_ALTITUDE: Final = 1200
"""Metres above sea level; above them, the home team is used to thinner air: Denver and Salt Lake City."""

_WINDOW: Final = 6


class GameTerms(NamedTuple):
    """Regressors of the expected margin of a game; their coefficients are in the rating filter, in this order.

    Attributes:
        home: 1 if the home team plays at home, 0 at a neutral site; its coefficient is the home advantage.
        back_to_back: 1 if only the home team played the day before, −1 if only the visitors did, otherwise 0.
        games_in_6_days: games of the home team on the six days that end with the game's, minus those of the visitors;
            −5 to 5.
        playoffs: 1 in the play-in and the playoffs, otherwise 0.
        altitude: 1 at home in a city above HIGH_ALTITUDE, otherwise 0.
    """

    home: float = 1.0
    back_to_back: float = 0.0
    games_in_6_days: float = 0.0
    playoffs: float = 0.0
    altitude: float = 0.0


NO_TERMS: Final = GameTerms()
"""A game of the regular season near sea level, of two teams that are equally rested."""


class TotalTerms(NamedTuple):
    """Regressors of the expected total of a game; their coefficients are in the filter of totals, in this order.

    Attributes:
        level: always 1; its coefficient is the total of two average teams.
        back_to_backs: number of the two teams that played the day before.
        playoffs, altitude: as in GameTerms.
    """

    level: float = 1.0
    back_to_backs: float = 0.0
    playoffs: float = 0.0
    altitude: float = 0.0


def game_terms(schedule: GameSchedule, home: str, *, is_playoffs: bool) -> GameTerms:
    """Return the terms of a game. An unknown part of its schedule counts as equal for both teams.

    Args:
        schedule: the known part of its schedule.
        home: NBA code of the home team; its city gives the altitude if the schedule has none.
        is_playoffs: whether it is of the play-in or the playoffs.

    Raises:
        KeyError: if the home team is not an NBA code.
    """
    return GameTerms(
        home=float(not schedule.is_neutral),
        back_to_back=float(_played_yesterday(schedule.home) - _played_yesterday(schedule.away)),
        games_in_6_days=float(_recent(schedule.home) - _recent(schedule.away)) if schedule.is_known else 0.0,
        playoffs=float(is_playoffs),
        altitude=_is_high(schedule, home),
    )


def total_terms(schedule: GameSchedule, home: str, *, is_playoffs: bool) -> TotalTerms:
    """Return the terms of the total of a game; see `game_terms`.

    If the schedule is unknown, both teams count as rested.

    Raises:
        KeyError: if the home team is not an NBA code.
    """
    return TotalTerms(
        back_to_backs=float(_played_yesterday(schedule.home) + _played_yesterday(schedule.away)),
        playoffs=float(is_playoffs),
        altitude=_is_high(schedule, home),
    )


def _is_high(schedule: GameSchedule, home: str) -> float:
    if schedule.is_neutral:
        return 0.0
    altitude = HOME_CITIES[home].altitude if schedule.altitude is None else schedule.altitude
    return float(altitude > HIGH_ALTITUDE)


def _played_yesterday(team: TeamSchedule) -> int:
    return int(team.is_back_to_back or False)


def _recent(team: TeamSchedule) -> int:
    # No team plays twice a day. Finals to the contrary are wrong and must not move a margin more than a real schedule.
    return min(team.games_in_6_days or 0, _WINDOW)
