"""Schedule of the two teams before a game, and the terms by which a game differs from others of the same teams.

The schedule follows from the dates and teams of earlier games alone. The same code computes it for training, from a
table of games, and for a server, from the outcomes in its ledger. In both, anything that depends on games before the
beginning of the history is unknown. Rest, road trips and time zones gained nothing (docs/decisions/0059).

A game counts only from the next day on: games of one day do not influence each other. No team plays twice a day.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Final, NamedTuple, Self

from dejavu_feed.off_season import playing_days, season_on, summer
from dejavu_feed.sites import HIGH_CITIES, is_neutral

MAX_BREAK: Final = 14
"""Maximum number of days without any game of the league, summers not counted, in a break of the season. After a longer
time, the history is assumed to lack games: it has a gap. The longest breaks are the All-Star break, 7 days, and those
around a summer, 12 (`dejavu_feed.off_season`); that of 2020 counts as a gap."""

_WINDOW: Final = 6
_MAX_GAMES: Final = 128
"""Maximum number of games kept per team: more than a season has (82, with play-in and four rounds of playoffs 112)."""


class TeamSchedule(NamedTuple):
    """Schedule of a team before a game.

    Attributes:
        played_yesterday: whether it is known to have played the day before.
        games_in_6_days: games on the six days that end with the day of the game, including the game; None if unknown.
    """

    played_yesterday: bool = False
    games_in_6_days: int | None = None


class GameSchedule(NamedTuple):
    """Schedule of a game.

    Attributes:
        home, away: the teams.
        is_neutral: whether it is at a neutral site.
    """

    home: TeamSchedule = TeamSchedule()
    away: TeamSchedule = TeamSchedule()
    is_neutral: bool = False

    @property
    def is_known(self) -> bool:
        """Whether the games of both teams on the last six days are known, and so whether they played the day before."""
        return self.home.games_in_6_days is not None and self.away.games_in_6_days is not None


@dataclass(frozen=True, slots=True)
class ScheduleHistory:
    """Games of a season, by team; immutable. Games may be added late, in any order.

    Attributes:
        season: the season, as the year in which it ends; None before the first game.
        newest: local date of the newest game; before the first of a season, the last day of the summer.
        known_from: local date from which on all games are known; a date in the summer before if no game of the season
            is missing.
        games: NBA code → local dates of the team's games since then, ascending; teams without any are omitted.
    """

    season: int | None = None
    newest: date = date.min
    known_from: date = date.min
    games: Mapping[str, tuple[date, ...]] = field(default_factory=dict)

    def after(self, day: date, home: str, away: str) -> Self:
        """Return the history with one more game; ignore games of an earlier season, or from before a gap.

        Args:
            day: local date of the game.
            home: NBA code of the home team.
            away: NBA code of the away team.
        """
        history = self._of_season(season_on(day))
        if history is None or day < history.known_from:
            return self
        if playing_days(history.newest, day) > MAX_BREAK:
            history = replace(history, known_from=day, games={})
        games = dict(history.games)
        for code in (home, away):
            days = [*games.get(code, ())]
            insort(days, day)
            games[code] = tuple(days[-_MAX_GAMES:])
        return replace(history, newest=max(history.newest, day), games=games)

    def before(self, day: date | None, home: str, away: str, *, neutral_site: bool | None = None) -> GameSchedule:
        """Return the schedule of a game, from the games of the days before it.

        If there was no game on more than MAX_BREAK days before the game, the history is too old: the schedules of both
        teams are unknown then.

        Args:
            day: local date of the game; None if it is not known.
            home: NBA code of the home team.
            away: NBA code of the away team.
            neutral_site: whether it is at a neutral site; None to decide by the list (see `is_neutral`).
        """
        neutral = is_neutral(home, away, day, neutral_site)
        history = None if day is None else self._of_season(season_on(day))
        if day is None or history is None or playing_days(history.newest, day) > MAX_BREAK:
            return GameSchedule(is_neutral=neutral)
        return GameSchedule(history._team(home, day), history._team(away, day), neutral)

    def _of_season(self, season: int) -> Self | None:
        """Return the history for a season: without games for a later season, None for an earlier one."""
        if self.season is not None and season < self.season:
            return None
        if season == self.season:
            return self
        first, last = summer(season - 1)
        return replace(self, season=season, newest=last, known_from=first, games={})

    def _team(self, code: str, day: date) -> TeamSchedule:
        days = self.games.get(code, ())
        earlier = days[: bisect_left(days, day)]  # by bisection, since forecasts wait for this
        first = day - timedelta(_WINDOW - 1)
        known = self.season is not None and self.known_from <= max(first, summer(self.season - 1)[0])
        return TeamSchedule(
            bool(earlier) and earlier[-1] == day - timedelta(1),
            1 + len(earlier) - bisect_left(earlier, first) if known else None,
        )


class GameTerms(NamedTuple):
    """Regressors of the expected margin of a game; their coefficients are in the rating filter, in this order.

    Attributes:
        home: 1 if the home team plays at home, 0 at a neutral site; its coefficient is the home advantage.
        back_to_back: 1 if only the home team played the day before, −1 if only the visitors did, otherwise 0.
        games_in_6_days: games of the home team on the six days that end with the game's, minus those of the visitors;
            −5 to 5.
        playoffs: 1 in the play-in and the playoffs, otherwise 0.
        altitude: 1 at home in one of `sites.HIGH_CITIES`, otherwise 0.
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
        home: NBA code of the home team.
        is_playoffs: whether it is of the play-in or the playoffs.
    """
    return GameTerms(
        home=float(not schedule.is_neutral),
        back_to_back=float(schedule.home.played_yesterday - schedule.away.played_yesterday),
        games_in_6_days=float(_recent(schedule.home) - _recent(schedule.away)) if schedule.is_known else 0.0,
        playoffs=float(is_playoffs),
        altitude=_altitude(schedule, home),
    )


def total_terms(schedule: GameSchedule, home: str, *, is_playoffs: bool) -> TotalTerms:
    """Return the terms of the total of a game; see `game_terms`. A team with an unknown schedule counts as rested."""
    return TotalTerms(
        back_to_backs=float(schedule.home.played_yesterday + schedule.away.played_yesterday),
        playoffs=float(is_playoffs),
        altitude=_altitude(schedule, home),
    )


def _altitude(schedule: GameSchedule, home: str) -> float:
    return float(home in HIGH_CITIES and not schedule.is_neutral)


def _recent(team: TeamSchedule) -> int:
    # No team plays twice a day. Finals to the contrary are wrong and must not move a margin more than a real schedule.
    return min(team.games_in_6_days or 0, _WINDOW)
