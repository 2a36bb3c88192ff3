"""Team ratings from results: the expected final differential of a game before tip-off.

A linear-Gaussian state-space model of final margins, filtered game by game (Glickman & Stern, A state-space model for
National Football League scores, JASA 93, 1998; the filter: Kalman 1960). The state is each team's strength, the home
advantage, and what each of the terms of a game (`GameTerms`: schedule, playoffs, altitude) is worth, in points.
Strengths follow a random walk from day to day and regress to the mean between seasons. The coefficients of terms do
neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.off_season import days_around, season_on
from dejavu_feed.teams import TEAMS
from dejavu_models.arrays import Floats
from dejavu_models.schedule import NO_TERMS, GameSchedule, GameTerms, ScheduleHistory, game_terms
from dejavu_models.types import ExpectedMarginTerms, WarningReason

CODES: tuple[str, ...] = tuple(TEAMS)
_INDEX = {code: index for index, code in enumerate(CODES)}
_HOME = len(CODES)
_TERMS = _HOME + 1
"""Index of the first coefficient of a term."""
_TERM_VARIANCE = 1.0
"""Prior variance of such a coefficient, in points squared: few are worth more than two points."""
STATE_SIZES: Final = (_TERMS, _TERMS + len(GameTerms._fields))
"""Sizes of the filter's state: without terms, as bundles of earlier releases have it, and with them."""
_LONGEST_GAP = 10
"""Maximum number of days of drift between two games: no games are played during a break."""

MAX_RATINGS_DAYS: Final = 30
"""Default of the greatest age at which ratings are used, in days; summers are not counted (`dejavu_feed.off_season`).
It is longer than any pause of a season but that of 2020."""


@dataclass(frozen=True, slots=True)
class RatingSettings:
    """Parameters of the filter, chosen by the trainer; variances in points squared.

    Attributes:
        noise: variance of a game's margin around the expected margin.
        daily: daily drift variance of a strength.
        carry: share of a strength carried into the next season, in [0, 1].
        seasonal: variance that a new season adds to a strength.
        home_daily: daily drift variance of the home advantage.
    """

    noise: float = 160.0
    daily: float = 0.02
    carry: float = 0.65
    seasonal: float = 6.0
    home_daily: float = 0.0005


@dataclass(frozen=True, slots=True)
class Ratings:
    """Team strengths after some game.

    Attributes:
        strengths: NBA code → points above an average team, on a neutral court.
        home_advantage: in points.
        date: local date of the last game included.
        coefficients: points for each of GameTerms; empty if the ratings have no terms.

    Raises:
        ValueError: if a team is missing or unknown, a value is not finite, or coefficients are missing.
    """

    strengths: Mapping[str, float]
    home_advantage: float
    date: date
    coefficients: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if set(self.strengths) != set(CODES):
            raise ValueError(f"ratings must cover exactly the {len(CODES)} teams of the NBA")
        if not np.isfinite([*self.strengths.values(), self.home_advantage, *self.coefficients]).all():
            raise ValueError("ratings must be finite")
        if self.coefficients and len(self.coefficients) != len(GameTerms._fields):
            raise ValueError(f"ratings must have a coefficient of each term: {', '.join(GameTerms._fields)}")

    def expected_margin(self, home: str, away: str, terms: GameTerms = NO_TERMS) -> float:
        """Returns the expected final differential of a game before tip-off, in points.

        Args:
            home: NBA code of the home team.
            away: NBA code of the away team.
            terms: the terms of the game; ignored by ratings without terms.

        Raises:
            KeyError: if one is not an NBA code.
        """
        return self.expected_margin_terms(home, away, terms).margin

    def expected_margin_terms(
        self, home: str, away: str, terms: GameTerms = NO_TERMS, *, schedule_known: bool = False
    ) -> ExpectedMarginTerms:
        """Returns what the expected margin of a game is made of; see `expected_margin`.

        Args:
            home: NBA code of the home team.
            away: NBA code of the away team.
            terms: the terms of the game; ignored by ratings without terms.
            schedule_known: whether the schedule of both teams is known (`GameSchedule.is_known`).

        Raises:
            KeyError: if one is not an NBA code.
        """
        difference = self.strengths[home] - self.strengths[away]
        if not self.coefficients:
            return ExpectedMarginTerms(difference, self.home_advantage)
        worth = GameTerms(*(load * points for load, points in zip(terms, self.coefficients, strict=True)))
        return ExpectedMarginTerms(
            difference,
            self.home_advantage,
            worth.back_to_back + worth.games_in_6_days,
            worth.playoffs,
            worth.altitude,
            schedule_known,
        )


@dataclass(frozen=True, slots=True)
class RatingFilter:
    """State of the Kalman filter; immutable.

    Attributes:
        mean: (35,), strengths in the order of CODES, then the home advantage, then the coefficients of GameTerms, in
            points; (31,) without coefficients, so without terms.
        covariance: (35, 35) or (31, 31), in points squared.
        season: season of the strengths, as the year in which it ends; None before the first game.
        date: date of the last game.
        awaits_season: whether `season` begins after `date`, so that its change has been applied and no game of it has.
    """

    settings: RatingSettings
    mean: Floats
    covariance: Floats
    season: int | None = None
    date: np.datetime64 | None = None
    awaits_season: bool = False

    @classmethod
    def start(cls, settings: RatingSettings, *, with_terms: bool = True) -> Self:
        """Creates the prior: equal strengths, a home advantage of about 3 points, and large variances.

        Args:
            settings: parameters of the filter.
            with_terms: whether the terms of games enter the expected margin; their coefficients start at 0.
        """
        size = STATE_SIZES[with_terms]
        mean, variances = np.zeros(size), np.full(size, 25.0)
        mean[_HOME], variances[_HOME], variances[_TERMS:] = 3.0, 1.0, _TERM_VARIANCE
        return cls(settings, mean, np.diag(variances))

    @property
    def with_terms(self) -> bool:
        """Whether the terms of games enter the expected margin."""
        return len(self.mean) > _TERMS

    def predict(self, season: int, day: np.datetime64 | None = None) -> Self:
        """Predicts the state before a game of `season` on `day`: adds drift variance, and regresses in a new season.

        A new season counts instead of the drift since the last game, and each season in between counts too. So the
        result is the same however many steps lead to it: first to a season, as a bundle is published, then to its
        first game, or to that game at once.

        Args:
            season: the season, as the year in which it ends; one before the state's own changes nothing.
            day: local date of the game; None if it is not known yet, only the season.
        """
        mean, covariance, chosen = self.mean, self.covariance, self.settings
        awaits_season = self.awaits_season
        teams = slice(0, _HOME)
        if self.season is not None and season > self.season:
            mean, covariance = mean.copy(), covariance.copy()
            for _ in range(self.season, season):
                mean[teams] *= chosen.carry
                covariance[teams] *= chosen.carry
                covariance[:, teams] *= chosen.carry
                covariance[teams, teams] += np.eye(_HOME) * chosen.seasonal
                covariance[_HOME, _HOME] += _LONGEST_GAP * chosen.home_daily
            awaits_season = True
        elif not awaits_season and self.date is not None and day is not None and day > self.date:
            days = min(int((day - self.date) / np.timedelta64(1, "D")), _LONGEST_GAP)
            covariance = covariance.copy()
            covariance[teams, teams] += np.eye(_HOME) * (days * chosen.daily)
            covariance[_HOME, _HOME] += days * chosen.home_daily
        return replace(
            self,
            mean=mean,
            covariance=covariance,
            season=season if self.season is None else max(season, self.season),
            date=self.date if day is None else day,
            awaits_season=awaits_season and day is None,
        )

    def expected(self, home: str, away: str, terms: GameTerms = NO_TERMS) -> tuple[float, float]:
        """Returns mean and variance of a game's final differential, in points and points squared."""
        mean, _, variance = self._predicted(home, away, terms)
        return mean, variance

    def update(self, home: str, away: str, differential: float, terms: GameTerms = NO_TERMS) -> Self:
        """Updates the state with a final differential, in points; bit-identical on every machine.

        Args:
            home: NBA code of the home team.
            away: NBA code of the away team.
            differential: home − away.
            terms: the terms of the game; ignored by a filter without terms.
        """
        expected, cross, variance = self._predicted(home, away, terms)
        gain = cross / variance
        mean = self.mean + gain * (differential - expected)
        covariance = self.covariance - np.outer(gain, cross)
        return replace(self, mean=mean, covariance=(covariance + covariance.T) / 2)

    def _predicted(self, home: str, away: str, terms: GameTerms) -> tuple[float, Floats, float]:
        """Returns mean of a game's differential, its covariance with the state, and its variance.

        A game loads on three components of the state and on the coefficients of its terms that are not 0. They are
        summed explicitly, in the order of the state: a matrix product with a design vector has a summation order that
        depends on the machine.
        """
        one, other = _INDEX[home], _INDEX[away]
        loads = [(index, load) for index, load in enumerate(terms, _TERMS) if load] if self.with_terms else []
        mean = float(self.mean[one] - self.mean[other] + self.mean[_HOME])
        cross = self.covariance[one] - self.covariance[other] + self.covariance[_HOME]
        for index, load in loads:
            mean += load * float(self.mean[index])
            cross += load * self.covariance[index]
        variance = float(cross[one] - cross[other] + cross[_HOME])
        for index, load in loads:
            variance += load * float(cross[index])
        return mean, cross, variance + self.settings.noise

    def ratings(self) -> Ratings:
        """Returns the current strengths.

        Raises:
            ValueError: if no game has been included.
        """
        if self.date is None:
            raise ValueError("ratings include no game")
        strengths = dict(zip(CODES, self.mean[:_HOME].tolist(), strict=True))
        day = self.date.astype("datetime64[D]").item()
        return Ratings(strengths, float(self.mean[_HOME]), day, tuple(self.mean[_TERMS:].tolist()))


class RatingsByDate:
    """The ratings of a filter by the date of a game, and what they expect of it; thread-safe.

    A game of a season that the filter has not reached has the ratings that its first final will find: regressed to the
    mean, as the trainer expects the games of an opening night.

    Args:
        state: the filter, with at least one game.
        schedule: games of the season; None if they are not known.

    Attributes:
        newest: the ratings for the filter's own season.

    Raises:
        ValueError: if the filter includes no game.
    """

    def __init__(self, state: RatingFilter, schedule: ScheduleHistory | None = None) -> None:
        self.newest = state.ratings()
        self._filter = state
        self._schedule = schedule
        self._later = dict[int, Ratings]()
        # The games of an evening are asked for often. The cache is limited: clients choose teams and dates.
        self.expected_margin_terms = lru_cache(maxsize=1024)(self._expected_margin_terms)

    def are_of_earlier_season(self, game_date: date | None) -> bool:
        """Returns whether a game is of a later season than the filter's; not if its date is unknown."""
        season = self._filter.season
        return game_date is not None and season is not None and season_on(game_date) > season

    def on(self, game_date: date | None) -> Ratings:
        """Returns the ratings for a game; for the filter's season if its date is unknown or earlier."""
        if game_date is None or not self.are_of_earlier_season(game_date):
            return self.newest
        season = season_on(game_date)
        if season not in self._later:  # two threads may both compute them: they are equal
            self._later[season] = self._filter.predict(season).ratings()
        return self._later[season]

    def _expected_margin_terms(
        self, home: str, away: str, game_date: date | None, is_playoffs: bool
    ) -> ExpectedMarginTerms:
        """Returns what the expected margin of a game is made of.

        Args:
            home: NBA code of the home team.
            away: NBA code of the away team.
            game_date: local date of the game; None: its schedule is not known.
            is_playoffs: whether it is of the play-in or the playoffs.
        """
        if not self._filter.with_terms:
            return self.on(game_date).expected_margin_terms(home, away)
        # Without a final, nobody knows whether the season has begun or whether nothing was reported.
        history = self._schedule
        schedule = history.before(game_date, home, away) if history and history.games else GameSchedule()
        terms = game_terms(schedule, home, is_playoffs=is_playoffs)
        return self.on(game_date).expected_margin_terms(home, away, terms, schedule_known=schedule.is_known)


def carried_margins(
    start: RatingFilter,
    season: NDArray[np.integer],
    day: NDArray[np.datetime64],
    home: NDArray[np.str_],
    away: NDArray[np.str_],
    final: NDArray[np.integer] | Floats,
    terms: Sequence[GameTerms],
) -> tuple[Floats, Floats, RatingFilter]:
    """Computes the expected margin of each game before tip-off, with ratings updated game by game.

    Games of one day do not influence each other's expectation: the data does not give their order.

    Args:
        start: the state before the first game.
        season: (n,), season of each game, as the year in which it ends.
        day: (n,), local dates, ascending.
        home: (n,), NBA codes.
        away: (n,), NBA codes.
        final: (n,), final differentials, in points.
        terms: n terms of the games; ignored by a state without terms.

    Returns:
        Means (n,) in points, variances (n,) in points squared, and the state after the last game.
    """
    means, variances = np.empty(len(final)), np.empty(len(final))
    state = start
    for today in np.unique(day):
        games = np.flatnonzero(day == today).tolist()
        state = state.predict(int(season[games[0]]), today)
        for game in games:
            means[game], variances[game] = state.expected(str(home[game]), str(away[game]), terms[game])
        for game in games:
            state = state.update(str(home[game]), str(away[game]), float(final[game]), terms[game])
    return means, variances, state


def frozen_margins(
    ratings: Ratings, home: NDArray[np.str_], away: NDArray[np.str_], terms: Sequence[GameTerms]
) -> Floats:
    """Returns the expected margins of n games, (n,) in points, with fixed ratings; `terms` are those of the games."""
    games = zip(home, away, terms, strict=True)
    return np.array([ratings.expected_margin(str(one), str(other), each) for one, other, each in games])


def are_usable(newest: date, game_date: date | None, max_days: int, end: date | None = None) -> bool:
    """Returns whether ratings may be used for a game.

    Args:
        newest: date of the newest final that they know.
        game_date: date of the game; None: their age is not counted.
        max_days: their greatest age, in days without summers; also how far they may be ahead of the game.
        end: date on which the knowledge of the game's teams ends, if that is before `newest` (`LiveRatings.unseen`).
    """
    if game_date is None:
        return True
    return days_around(newest, max_days)[0] <= game_date <= days_around(end or newest, max_days)[1]


def ratings_warnings(
    newest: date, game_date: date | None, max_days: int, end: date | None = None
) -> tuple[WarningReason, ...]:
    """Returns what the age of ratings makes unreliable; see `are_usable`."""
    if game_date is None:
        return ()
    if game_date > days_around(end or newest, max_days)[1]:
        return (WarningReason.RATINGS_OUTDATED,)
    return (WarningReason.RATINGS_AHEAD,) if game_date < newest else ()
