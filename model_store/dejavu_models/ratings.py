"""Team ratings from results: the expected final differential of a game before tip-off.

The state of the filter (`team_filter`) is each team's strength, the home advantage, and the coefficient of each term of
a game (`GameTerms`: schedule, playoffs, altitude), in points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import ClassVar, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.box_score import Lineups
from dejavu_feed.off_season import days_around, season_on
from dejavu_feed.sites import is_neutral
from dejavu_feed.teams import DECEMBER_DEVIATION
from dejavu_models.arrays import Floats
from dejavu_models.forecast_query import LineupEffects
from dejavu_models.player_ratings import PlayerRatings
from dejavu_models.schedule import NO_TERMS, GameSchedule, GameTerms, ScheduleHistory, game_terms, total_terms
from dejavu_models.team_filter import CODES, FIRST_TERM, LEVEL, RatingSettings, TeamFilter, TotalFilter
from dejavu_models.types import ExpectedMarginTerms, MarginSource, TeamKnowledge, WarningReason

STATE_SIZE: Final = LEVEL + len(GameTerms._fields)
"""Size of the filter's state."""

MAX_RATINGS_DAYS: Final = 30
"""Default of the greatest age at which ratings are used, in days; summers are not counted (`dejavu_feed.off_season`).
It is longer than any pause of a season except that of 2020."""

# Uncertainty of margins in usual seasons: 2016 to 2023, without the two that the pandemic moved (docs/evaluation.md).
USUAL_VARIANCES: Final = {MarginSource.UNKNOWN: math.inf, MarginSource.RATED: 27.3, MarginSource.KNOWN: 13.6}
"""Variance of the expected margin, in points squared, that the tables of each source include. RATED: its mean for
margins frozen before a season, on which these tables are fitted; KNOWN: its maximum for two teams with KNOWN_GAMES
games."""


@dataclass(frozen=True, slots=True)
class Ratings:
    """Team strengths after some game.

    Attributes:
        strengths: NBA code → points above an average team, on a neutral court.
        home_advantage: in points.
        date: local date of the last game included.
        coefficients: points for each of GameTerms after the first, whose coefficient is the home advantage.
    """

    strengths: Mapping[str, float]
    home_advantage: float
    date: date
    coefficients: tuple[float, ...]

    def expected_margin(self, home: str, away: str, terms: GameTerms = NO_TERMS) -> float:
        """Return the expected final differential of a game before tip-off, in points.

        Args:
            home: NBA code of the home team.
            away: NBA code of the away team.
            terms: the terms of the game.

        Raises:
            KeyError: if a team is not an NBA code.
        """
        return self.expected_margin_terms(home, away, terms).margin

    def expected_margin_terms(
        self, home: str, away: str, terms: GameTerms = NO_TERMS, *, schedule_known: bool = False
    ) -> ExpectedMarginTerms:
        """Return the terms of a game's expected margin; see `expected_margin`.

        Args:
            home: NBA code of the home team.
            away: NBA code of the away team.
            terms: the terms of the game.
            schedule_known: whether the schedule of both teams is known (`GameSchedule.is_known`).

        Raises:
            KeyError: if a team is not an NBA code.
        """
        coefficients = (self.home_advantage, *self.coefficients)
        worth = GameTerms(*(load * points for load, points in zip(terms, coefficients, strict=True)))
        return ExpectedMarginTerms(
            self.strengths[home] - self.strengths[away],
            worth.home,
            worth.back_to_back + worth.games_in_6_days,
            worth.playoffs,
            worth.altitude,
            schedule_known,
        )


@dataclass(frozen=True, slots=True)
class RatingFilter(TeamFilter):
    """Filter of final differentials; immutable.

    Its state, (35,), has the strengths, the home advantage, and the coefficients of the other GameTerms.
    """

    away_sign: ClassVar[float] = -1.0

    @classmethod
    def start(cls, settings: RatingSettings) -> Self:
        """Create the prior: equal strengths, a home advantage of about 3 points, and large variances.

        Args:
            settings: parameters of the filter.
        """
        return cls.prior(settings, level=3.0, terms=len(GameTerms._fields) - 1)

    def ratings(self) -> Ratings:
        """Return the current strengths.

        Raises:
            ValueError: if no game has been included.
        """
        if self.date is None:
            raise ValueError("ratings include no game")
        strengths = dict(zip(CODES, self.mean[:LEVEL].tolist(), strict=True))
        day = self.date.astype("datetime64[D]").item()
        return Ratings(strengths, float(self.mean[LEVEL]), day, tuple(self.mean[FIRST_TERM:].tolist()))


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


class MarginUncertainty(NamedTuple):
    """Uncertainty of an expected margin.

    Attributes:
        variance: of the expected margin, in points squared.
        deviations: standard deviations of the strengths of home and away, in points.
    """

    variance: float
    deviations: tuple[float, float]


class RatingsByDate:
    """The ratings of a filter by the date of a game, and the margins that they expect; thread-safe.

    For a game of a season that the filter has not reached, the ratings are those before the season's first final:
    regressed to the mean, as in the trainer's expectations for an opening night.

    Args:
        state: the filter, with at least one game.
        schedule: games of the season; None if they are not known.
        players: ratings of players; None if there are none.

    Attributes:
        newest: the ratings for the filter's own season.

    Raises:
        ValueError: if the filter includes no game.
    """

    def __init__(
        self,
        state: RatingFilter,
        schedule: ScheduleHistory | None = None,
        players: PlayerRatings | None = None,
    ) -> None:
        self.newest = state.ratings()
        self._filter = state
        self._players = players
        self._schedule = schedule
        self._later = dict[int, Ratings]()
        # The games of an evening are requested often. The cache is bounded, since clients choose teams and dates.
        self.expected_margin_terms = lru_cache(maxsize=1024)(self._expected_margin_terms)
        self.uncertainty = lru_cache(maxsize=1024)(self._uncertainty)

    def are_of_earlier_season(self, game_date: date | None) -> bool:
        """Return whether a game is of a later season than the filter's; False if its date is unknown."""
        return self._filter.is_of_earlier_season(game_date)

    def on(self, game_date: date | None) -> Ratings:
        """Return the ratings for a game; for the filter's season if its date is unknown or earlier."""
        if game_date is None or not self.are_of_earlier_season(game_date):
            return self.newest
        season = season_on(game_date)
        if season not in self._later:  # two threads may both compute them, with equal results
            self._later[season] = self._filter.predict(season).ratings()
        return self._later[season]

    def _expected_margin_terms(self, game: RatedGame) -> ExpectedMarginTerms:
        """Return the terms of a game's expected margin."""
        schedule, terms = self._terms(game)
        rated = self.on(game.day)
        of_teams = rated.expected_margin_terms(game.home, game.away, terms, schedule_known=schedule.is_known)
        return of_teams if self._players is None else self._with_players(of_teams, game, self._players)

    def _with_players(self, terms: ExpectedMarginTerms, game: RatedGame, players: PlayerRatings) -> ExpectedMarginTerms:
        if isinstance(game.lineups, LineupEffects):
            return replace(terms, **game.lineups._asdict())
        season = players.season if game.day is None else season_on(game.day)
        if game.lineups is None or not players.knows(game.home, game.away, season):
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

    def _terms(self, game: RatedGame) -> tuple[GameSchedule, GameTerms]:
        # Without any final, the season may not have begun, or nothing was reported.
        if self._schedule and self._schedule.games:
            schedule = self._schedule.before(game.day, game.home, game.away, neutral_site=game.neutral_site)
        else:
            schedule = GameSchedule(is_neutral=is_neutral(game.home, game.away, game.day, game.neutral_site))
        return schedule, game_terms(schedule, game.home, is_playoffs=game.is_playoffs)

    def _uncertainty(self, game: RatedGame) -> MarginUncertainty:
        """Return the uncertainty of a game's expected margin."""
        state = self._filter
        if game.day is not None and game.day > self.newest.date:
            state = state.predict(season_on(game.day), np.datetime64(game.day))
        variance = state.expected(game.home, game.away, self._terms(game)[1])[1] - state.settings.noise
        return MarginUncertainty(variance, (state.deviation(game.home), state.deviation(game.away)))


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


def _rounded(points: Floats | float) -> float:
    """Return an effect without rounding errors: 0 if nobody is missing, which a ledger entry omits, and never −0."""
    return round(float(points), 9) + 0.0


def are_known(teams: Sequence[TeamKnowledge]) -> bool:
    """Return whether teams are known as well as in a usual December."""
    return all(team.deviation <= DECEMBER_DEVIATION for team in teams)


def frozen_margins(
    ratings: Ratings, home: NDArray[np.str_], away: NDArray[np.str_], terms: Sequence[GameTerms]
) -> Floats:
    """Return the expected margins of n games, (n,) in points, with fixed ratings; `terms` are those of the games."""
    games = zip(home, away, terms, strict=True)
    return np.array([ratings.expected_margin(str(one), str(other), each) for one, other, each in games])


def are_usable(newest: date, game_date: date | None, max_days: int, end: date | None = None) -> bool:
    """Return whether ratings may be used for a game.

    Args:
        newest: date of the newest final that the ratings know.
        game_date: date of the game; None: the age of the ratings is not checked.
        max_days: maximum age of the ratings, in days without summers; also the maximum number of days that they may be
            ahead of the game.
        end: date on which the knowledge of the game's teams ends, if that is before `newest` (`LiveRatings.unseen`).
    """
    if game_date is None:
        return True
    return days_around(newest, max_days)[0] <= game_date <= days_around(end or newest, max_days)[1]


def ratings_warnings(
    newest: date, game_date: date | None, max_days: int, end: date | None = None
) -> tuple[WarningReason, ...]:
    """Return the warnings due to the age of ratings; see `are_usable`."""
    if game_date is None:
        return ()
    if game_date > days_around(end or newest, max_days)[1]:
        return (WarningReason.RATINGS_OUTDATED,)
    return (WarningReason.RATINGS_AHEAD,) if game_date < newest else ()
