"""What ratings expect of games before tip-off: margins, their uncertainty, and totals."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from dejavu_feed.box_score import Lineups
from dejavu_feed.off_season import season_on
from dejavu_feed.sites import is_neutral
from dejavu_models.arrays import Floats
from dejavu_models.forecast_query import LineupEffects
from dejavu_models.live_ratings import RatedSchedule
from dejavu_models.schedule import GameSchedule, game_terms, total_terms
from dejavu_models.team_filter import FilterT
from dejavu_models.types import ExpectedMarginTerms


class RatedGame(NamedTuple):
    """A game whose expected margin or total is requested.

    Attributes:
        home, away: NBA codes.
        day: local date; None: its schedule is not known.
        is_playoffs: whether it is of the play-in or the playoffs.
        neutral_site: whether it is at a neutral site; None to decide by the list in `dejavu_feed.sites`.
        lineups: players on court so far, or their effects on an earlier margin; None if unknown.
    """

    home: str
    away: str
    day: date | None
    is_playoffs: bool = False
    neutral_site: bool | None = None
    lineups: Lineups | LineupEffects | None = None


class Expectations:
    """Expectations of games of any date by ratings and the games before them; thread-safe.

    For a game of a season that the ratings have not reached, they are those before the season's first final: regressed
    to the mean, as in the trainer's expectations for an opening night. If the date is unknown or earlier, they are
    those for their own season.

    Args:
        rated: the ratings, with at least one game, and the games of the season.
    """

    def __init__(self, rated: RatedSchedule) -> None:
        self._rated = rated
        # The games of an evening are requested often. The caches are bounded, since clients choose teams and dates.
        self.margin_terms = lru_cache(maxsize=1024)(self._margin_terms)
        self.margin_uncertainty = lru_cache(maxsize=1024)(self._margin_uncertainty)
        self.total = lru_cache(maxsize=1024)(self._total)

    def _margin_terms(self, game: RatedGame) -> ExpectedMarginTerms:
        """Return the terms of a game's expected margin."""
        schedule, players = self._schedule(game), self._rated.players
        state = _in_season_of(game, self._rated.ratings.filter)
        terms = state.expected_margin_terms(
            game.home,
            game.away,
            game_terms(schedule, game.home, is_playoffs=game.is_playoffs),
            schedule_known=schedule.is_known,
        )
        if players is None or game.lineups is None:
            return terms
        if isinstance(game.lineups, LineupEffects):
            return replace(terms, **game.lineups._asdict())
        if not players.knows(game.home, game.away, players.season if game.day is None else season_on(game.day)):
            return terms
        found = players.differences(game.home, game.away, game.lineups)
        points = players.weights.points(found, terms.of_teams)
        return replace(
            terms,
            usual_players=_rounded(points.usual),
            missing_players=_rounded(points.missing),
            home_missing=players.missing(game.home, game.lineups.home_seen),
            away_missing=players.missing(game.away, game.lineups.away_seen),
        )

    def _margin_uncertainty(self, game: RatedGame) -> tuple[float, tuple[float, float]]:
        """Return the variance of a game's expected margin, in points squared, and the deviations of both strengths."""
        state = self._rated.ratings.filter
        if game.day is not None and game.day > state.newest:
            state = state.predict(season_on(game.day), game.day)
        terms = game_terms(self._schedule(game), game.home, is_playoffs=game.is_playoffs)
        variance = state.expected(game.home, game.away, terms)[1] - state.settings.noise
        return variance, (state.deviation(game.home), state.deviation(game.away))

    def _total(self, game: RatedGame) -> float | None:
        """Return the expected final total of a game, in points; None without ratings of totals."""
        if self._rated.totals is None:
            return None
        state = _in_season_of(game, self._rated.totals.filter)
        terms = total_terms(self._schedule(game), game.home, is_playoffs=game.is_playoffs)
        return state.expected(game.home, game.away, terms)[0]

    def _schedule(self, game: RatedGame) -> GameSchedule:
        # Without any final, the season may not have begun, or nothing was reported.
        if self._rated.schedule.games:
            return self._rated.schedule.before(game.day, game.home, game.away, neutral_site=game.neutral_site)
        return GameSchedule(is_neutral=is_neutral(game.home, game.away, game.day, game.neutral_site))


def _in_season_of(game: RatedGame, state: FilterT) -> FilterT:
    if game.day is None or not state.is_of_earlier_season(game.day):
        return state
    return state.predict(season_on(game.day))


def _rounded(points: Floats | float) -> float:
    """Return an effect without rounding errors: 0 if nobody is missing, which a ledger entry omits, and never −0."""
    return round(float(points), 9) + 0.0
