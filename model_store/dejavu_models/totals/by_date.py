"""The ratings of totals by the date of a game, and the totals that they expect."""

from __future__ import annotations

from datetime import date
from functools import lru_cache

from dejavu_feed.off_season import season_on
from dejavu_models.ratings import RatedGame
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
        # The games of an evening are requested often. The cache is bounded, since clients choose teams and dates.
        self.expected_total = lru_cache(maxsize=1024)(self._expected_total)

    def are_of_earlier_season(self, game_date: date | None) -> bool:
        """Return whether a game is of a later season than the filter's; False if its date is unknown."""
        return self._filter.is_of_earlier_season(game_date)

    def _expected_total(self, game: RatedGame) -> float:
        """Return the expected final total of a game before tip-off, in points."""
        state, teams = self._filter, (game.home, game.away)
        if game.day is not None and state.is_of_earlier_season(game.day):
            state = state.predict(season_on(game.day))
        schedule = GameSchedule()
        if self._schedule is not None:
            schedule = self._schedule.before(game.day, *teams, neutral_site=game.neutral_site)
        return state.expected(*teams, total_terms(schedule, game.home, is_playoffs=game.is_playoffs))[0]
