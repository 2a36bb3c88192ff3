"""Adapted intervals and ratings with which a forecaster answers one batch, and what the ratings expect of games."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from dejavu_feed.box_score import Lineups
from dejavu_feed.off_season import season_on
from dejavu_feed.sites import is_neutral
from dejavu_models.arrays import Floats
from dejavu_models.forecast_query import ForecastQuery, LineupEffects
from dejavu_models.live_ratings import LiveRatings, LiveTotals, OnlineState, RatedSchedule, have_known_games
from dejavu_models.ratings import USUAL_VARIANCES, FilterT, are_usable, ratings_warnings
from dejavu_models.schedule import GameSchedule, game_terms, total_terms
from dejavu_models.types import (
    MAX_DIFFERENTIAL,
    AdaptationMode,
    ExpectedMarginTerms,
    Horizon,
    MarginSource,
    TeamKnowledge,
    WarningReason,
)
from dejavu_models.uncertainty.adaptive import quarter_of
from dejavu_models.uncertainty.issued import IntervalAdapter, adapters


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


class ActiveState:
    """Online state, prepared for answering queries; with the ratings of the bundle if it has none.

    Args:
        online: the online state.
        bundled: ratings of the bundle, before the first result.
    """

    def __init__(self, online: OnlineState, bundled: RatedSchedule) -> None:
        self.sequence = online.sequence
        self.mode = online.mode
        self.adapters: dict[tuple[Horizon, int], IntervalAdapter] = (
            {} if online.mode is None else adapters(online.trackers)
        )
        rated = bundled if online.rated is None else online.rated
        self._rated, self._expected = rated, Expectations(rated)
        self.ratings_date = rated.ratings.newest
        self.finals = rated.ratings.finals
        self.unseen = rated.ratings.unseen

    def end(self, query: ForecastQuery) -> date:
        """Return the date on which the knowledge of the teams of a query ends."""
        return min(self.unseen.get(code, self.ratings_date) for code in (query.home_team, query.away_team))

    def ending(self, query: ForecastQuery, end: date) -> tuple[str, ...]:
        """Return the teams of a query that, because of a gap, were not seen after a date."""
        return tuple(code for code in (query.home_team, query.away_team) if self.unseen.get(code) == end)

    def adapter(self, horizon: Horizon, minute: int) -> IntervalAdapter | None:
        """Return the adapter of forecasts to a horizon at a minute; None before the first settled game."""
        return self.adapters.get((horizon, quarter_of(minute))) if self.adapters else None

    def factor(self, horizon: Horizon, minute: int) -> float:
        """Return the factor of the scores in forecasts."""
        adapter = self.adapter(horizon, minute)
        return 1.0 if adapter is None or self.mode is not AdaptationMode.ON else adapter.factor

    @staticmethod
    def asks_for_ratings(query: ForecastQuery) -> bool:
        """Return whether a query requests the ratings of its teams: it has both teams and no margin."""
        return query.pregame_margin is None and query.home_team != "" and query.away_team != ""

    def warnings(self, query: ForecastQuery, max_days: int) -> tuple[WarningReason, ...]:
        """Return the warnings about the age of the ratings that a query requests."""
        return ratings_warnings(self.ratings_date, query.game_date, max_days, self.end(query))

    def _are_usable(self, query: ForecastQuery, max_days: int) -> bool:
        """Return whether the ratings are neither too old for a query's game nor too far ahead of it."""
        return are_usable(self.ratings_date, query.game_date, max_days, self.end(query))

    def margin_terms(self, query: ForecastQuery, max_days: int) -> ExpectedMarginTerms | None:
        """Return the terms of the margin by the ratings of a query's teams, whether or not it gives another margin.

        None if it has not both teams, or the ratings are not usable.
        """
        if not (query.home_team and query.away_team and self._are_usable(query, max_days)):
            return None
        return self._expected.margin_terms(_rated_game(query, query.lineups))

    def teams_known(self, query: ForecastQuery) -> tuple[TeamKnowledge, ...]:
        """Return how well the ratings know the teams of a query, home first; empty if not requested.

        A query with both teams requests it if it gives no margin, or total points without a pregame total.
        """
        total = query.live.total_points is not None and query.live.pregame_total is None
        if not (query.home_team and query.away_team) or not (query.pregame_margin is None or total):
            return ()
        _, deviations = self._expected.margin_uncertainty(_rated_game(query))
        return tuple(
            TeamKnowledge(deviation, *self._rated.ratings.finals_on(code, query.game_date))
            for code, deviation in zip((query.home_team, query.away_team), deviations, strict=True)
        )

    def excess_variance(self, query: ForecastQuery, source: MarginSource) -> float:
        """Return the variance of a query's expected margin beyond the usual one of its source, in points squared.

        The query asks for ratings; the variance of a margin that is given in a query is not known.
        """
        variance, _ = self._expected.margin_uncertainty(_rated_game(query))
        return max(0.0, variance - USUAL_VARIANCES[source])

    def margin_source(self, query: ForecastQuery, max_days: int) -> MarginSource:
        """Return the source of the expected margin of a query."""
        if query.pregame_margin is not None:
            return MarginSource.LINE
        if not (self.asks_for_ratings(query) and self._are_usable(query, max_days)):
            return MarginSource.UNKNOWN
        return _source(self._rated.ratings, query)

    def expected_total(self, query: ForecastQuery, max_days: int) -> tuple[MarginSource, float | None]:
        """Return the expected final total before the game, in points, and its source; None if it is unknown.

        A total given in the query is used as it is. Ratings are used even if the query gives a margin, which says
        nothing about the total. Ratings of totals know a team no better than ratings of margins do.
        """
        if query.live.pregame_total is not None:
            return MarginSource.LINE, query.live.pregame_total
        totals = self._rated.totals
        if totals is None or not (query.home_team and query.away_team):
            return MarginSource.UNKNOWN, None
        newest = totals.filter.newest
        if not are_usable(newest, query.game_date, max_days, min(self.end(query), newest)):
            return MarginSource.UNKNOWN, None
        return _source(totals, query), self._expected.total(_rated_game(query))


def _source(ratings: LiveRatings | LiveTotals, query: ForecastQuery) -> MarginSource:
    """Return the source of an expectation by usable ratings of a query's teams."""
    of_earlier = ratings.filter.is_of_earlier_season(query.game_date)
    known = not of_earlier and have_known_games(ratings.games, query.home_team, query.away_team)
    return MarginSource.KNOWN if known else MarginSource.RATED


def _rated_game(query: ForecastQuery, lineups: Lineups | LineupEffects | None = None) -> RatedGame:
    teams = query.home_team, query.away_team
    return RatedGame(*teams, query.game_date, query.is_playoffs, query.live.neutral_site, lineups)


def expected_margin(query: ForecastQuery, terms: ExpectedMarginTerms | None) -> float | None:
    """Return the expected final differential before the game, in points: as given, from ratings, or None.

    A margin from ratings is limited to the range that requests can give, in case wrong results were reported.

    Args:
        query: the query.
        terms: the `margin_terms` of its teams.
    """
    if query.pregame_margin is not None:
        return query.pregame_margin
    return None if terms is None else min(max(terms.margin, -MAX_DIFFERENTIAL), MAX_DIFFERENTIAL)
