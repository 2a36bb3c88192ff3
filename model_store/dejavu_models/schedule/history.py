"""Schedule of the two teams of a game: rest, games in few days, road trips, time zones and altitude.

The schedule follows from the dates and teams of earlier games alone. The same code computes it for training, from a
table of games, and for a server, from the outcomes in its ledger. In both, anything that depends on games before the
beginning of the history is None.

A game counts only from the next day on: games of one day do not influence each other. No team plays twice a day.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import takewhile
from operator import attrgetter
from typing import Final, NamedTuple, Self

from dejavu_feed.off_season import playing_days, season_on, summer
from dejavu_feed.sites import HOME_CITIES, host_city, is_neutral, utc_offset

MAX_REST: Final = 7
"""Maximum number of days of rest: longer pauses, such as the All-Star break, count as this many."""

MAX_BREAK: Final = 14
"""Maximum number of days without any game of the league, summers not counted, in a break of the season. After a longer
time, the history is assumed to lack games: it has a gap. The longest breaks are the All-Star break, 7 days, and those
around a summer, 12 (`dejavu_feed.off_season`); that of 2020 counts as a gap."""

_WINDOWS: Final = (4, 6)
_MAX_GAMES: Final = 128
"""Maximum number of games kept per team: more than a season has (82, with play-in and four rounds of playoffs 112)."""


class TeamSchedule(NamedTuple):
    """Schedule of a team before a game; None where it is not known.

    Attributes:
        rest_days: days without a game since the last one of the season, 0 to MAX_REST; None for the season's first.
        is_back_to_back: whether it played the day before; None for the season's first game.
        games_in_4_days: games on the four days that end with the day of the game, including the game: 3 is a "three in
            four".
        games_in_6_days: likewise on six days.
        road_games: consecutive games on the road, including this one; 0 at home.
        time_zones: hours by which clocks in the game's city are ahead of those in the city of the team's last game of
            the season: 3 from Los Angeles to Boston, −3 back; None for the season's first game.
    """

    rest_days: int | None = None
    is_back_to_back: bool | None = None
    games_in_4_days: int | None = None
    games_in_6_days: int | None = None
    road_games: int | None = None
    time_zones: int | None = None


class GameSchedule(NamedTuple):
    """Schedule of a game.

    Attributes:
        home, away: the teams.
        altitude: of the city, in metres above sea level; None if the day is not known.
        is_neutral: whether it is at a neutral site.
    """

    home: TeamSchedule = TeamSchedule()
    away: TeamSchedule = TeamSchedule()
    altitude: int | None = None
    is_neutral: bool = False

    @property
    def is_known(self) -> bool:
        """Whether the games of both teams on the last six days are known, and so whether they played the day before."""
        return self.home.games_in_6_days is not None and self.away.games_in_6_days is not None


class Appearance(NamedTuple):
    """A game of a team: local date, code of the team whose city it is in, and whether the team is the home team."""

    day: date
    city: str
    at_home: bool


_DAY: Final = attrgetter("day")


@dataclass(frozen=True, slots=True)
class ScheduleHistory:
    """Games of a season, by team; immutable. Games may be added late, in any order.

    Attributes:
        season: the season, as the year in which it ends; None before the first game.
        newest: local date of the newest game; before the first of a season, the last day of the summer.
        known_from: local date from which on all games are known; a date in the summer before if no game of the season
            is missing.
        games: NBA code → games of the team since then, ascending; teams without any are omitted.
    """

    season: int | None = None
    newest: date = date.min
    known_from: date = date.min
    games: Mapping[str, tuple[Appearance, ...]] = field(default_factory=dict)

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
        city = host_city(home, day)
        games = dict(history.games)
        for code in (home, away):
            appearances = [*games.get(code, ())]
            insort(appearances, Appearance(day, city, code == home))
            games[code] = tuple(appearances[-_MAX_GAMES:])
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

        Raises:
            KeyError: if a team is not an NBA code.
        """
        neutral = is_neutral(home, away, day, neutral_site)
        if day is None:
            return GameSchedule(is_neutral=neutral)
        city = host_city(home, day)
        history = self._of_season(season_on(day))
        if history is None or playing_days(history.newest, day) > MAX_BREAK:
            return GameSchedule(altitude=HOME_CITIES[city].altitude, is_neutral=neutral)
        return GameSchedule(
            history._team(home, Appearance(day, city, at_home=True)),
            history._team(away, Appearance(day, city, at_home=False)),
            HOME_CITIES[city].altitude,
            neutral,
        )

    def _of_season(self, season: int) -> Self | None:
        """Return the history for a season: without games for a later season, None for an earlier one."""
        if self.season is not None and season < self.season:
            return None
        if season == self.season:
            return self
        first, last = summer(season - 1)
        return replace(self, season=season, newest=last, known_from=first, games={})

    def _team(self, code: str, game: Appearance) -> TeamSchedule:
        games = self.games.get(code, ())
        earlier = games[: bisect_left(games, game.day, key=_DAY)]  # by bisection, since forecasts wait for this
        last = earlier[-1] if earlier else None
        rest = None if last is None else (game.day - last.day).days - 1
        in_4, in_6 = (self._games_in(days, earlier, game.day) for days in _WINDOWS)
        return TeamSchedule(
            rest_days=None if rest is None else min(rest, MAX_REST),
            is_back_to_back=None if rest is None else rest == 0,
            games_in_4_days=in_4,
            games_in_6_days=in_6,
            road_games=self._road_games(earlier, game),
            time_zones=None if last is None else utc_offset(game.city, game.day) - utc_offset(last.city, game.day),
        )

    def _games_in(self, days: int, earlier: tuple[Appearance, ...], day: date) -> int | None:
        first = day - timedelta(days - 1)
        if not self._is_known_from(first):
            return None
        return 1 + len(earlier) - bisect_left(earlier, first, key=_DAY)

    def _road_games(self, earlier: tuple[Appearance, ...], game: Appearance) -> int | None:
        if game.at_home:
            return 0
        trip = list(takewhile(lambda each: not each.at_home, reversed(earlier)))
        if len(trip) == len(earlier) and not self._is_known_from(date.min):
            return None
        return 1 + len(trip)

    def _is_known_from(self, day: date) -> bool:
        """Whether all games of the season on a day and later are known."""
        return self.season is not None and self.known_from <= max(day, summer(self.season - 1)[0])
