"""The ratings of totals by the date of a game, and the totals that they expect."""

from __future__ import annotations

from datetime import date
from functools import lru_cache

from dejavu_feed.off_season import season_on
from dejavu_models.schedule import GameSchedule, ScheduleHistory, total_terms
from dejavu_models.totals.filter import TotalFilter


class TotalsByDate:
    """Expected totals of the games of any date, like `RatingsByDate`; thread-safe.

    Args:
        state: the filter, with at least one game.
        schedule: games of the season; None if they are not known.

    Attributes:
        newest: local date of the newest final whose total the ratings know.

    Raises:
        ValueError: if the filter includes no game.
    """

    def __init__(self, state: TotalFilter, schedule: ScheduleHistory | None = None) -> None:
        if state.date is None:
            raise ValueError("ratings of totals include no game")
        self.newest: date = state.date.astype("datetime64[D]").item()
        self._filter = state
        self._schedule = schedule
        # The games of an evening are asked for often. The cache is limited: clients choose teams and dates.
        self.expected_total = lru_cache(maxsize=1024)(self._expected_total)

    def are_of_earlier_season(self, game_date: date | None) -> bool:
        """Return whether a game is of a later season than the filter's; False if its date is unknown."""
        return self._filter.is_of_earlier_season(game_date)

    def _expected_total(self, home: str, away: str, game_date: date | None, is_playoffs: bool) -> float:
        """Return the expected final total of a game before tip-off, in points.

        Args:
            home: NBA code of the home team.
            away: NBA code of the away team.
            game_date: local date of the game; None: its schedule is not known.
            is_playoffs: whether it is of the play-in or the playoffs.
        """
        state = self._filter
        if game_date is not None and state.is_of_earlier_season(game_date):
            state = state.predict(season_on(game_date))
        schedule = GameSchedule() if self._schedule is None else self._schedule.before(game_date, home, away)
        return state.expected(home, away, total_terms(schedule, home, is_playoffs=is_playoffs))[0]
