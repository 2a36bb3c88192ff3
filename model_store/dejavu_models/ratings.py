"""Team ratings from results: the expected final differential, and total, of a game before tip-off, by a Kalman filter.

A linear-Gaussian state-space model, filtered game by game (Glickman & Stern, A state-space model for National Football
League scores, JASA 93, 1998; the filter: Kalman 1960). The state is a number per team, a common level, and a
coefficient per term of a game, in points. The numbers of the teams follow a random walk from day to day and regress to
0 between seasons; the level only drifts; the coefficients do neither. For differentials, the numbers are the teams'
strengths, the level is the home advantage, and the terms are those of `GameTerms`: schedule, playoffs, altitude.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import ClassVar, Final, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.off_season import days_around, days_with_games, season_on, summer
from dejavu_feed.teams import DECEMBER_DEVIATION, TEAMS
from dejavu_models.arrays import Floats, check_array
from dejavu_models.schedule import NO_TERMS, GameTerms, TotalTerms
from dejavu_models.types import ExpectedMarginTerms, MarginSource, TeamKnowledge, WarningReason

CODES: Final[tuple[str, ...]] = tuple(TEAMS)
"""NBA codes in the order of the state."""
_INDEX = {code: index for index, code in enumerate(CODES)}
LEVEL: Final = len(CODES)
"""Index of the level in the state."""
FIRST_TERM: Final = LEVEL + 1
"""Index of the first coefficient after the level; the level is the coefficient of the first term."""
MAX_STRENGTH: Final = 1000.0
"""Bound of the numbers of a state, in points; those of a bundle are below 30, the level of totals is below 250."""
MIN_NOISE: Final = 1.0
"""Lower bound of the noise, in points squared, far above any rounding error of a variance; that of margins is 160."""
_TEAM_VARIANCE = 25.0
_LEVEL_VARIANCE = 1.0
_TERM_VARIANCE = 1.0
"""Prior variance of the coefficient of a term, in points squared: few terms are worth more than two points."""
_LEVEL_ALONE: Final = (1.0,)
"""The terms of a game that has none but the level."""
_LONGEST_GAP = 10
"""Maximum number of days of drift between two games: no games are played during a break."""
_LONGEST_BREAK: Final = 30
"""Maximum number of days of play without any game that can be a break; in a longer time, games were played but not
seen."""


@dataclass(frozen=True, slots=True)
class RatingSettings:
    """Parameters of a filter, chosen by the trainer; variances in points squared. The defaults are those of margins.

    Attributes:
        noise: variance of a game's outcome around its expectation; that of a bundle is at least MIN_NOISE.
        daily: daily drift variance of a team.
        carry: share of a team's number that is carried into the next season, in [0, 1].
        seasonal: variance that a new season adds to a team.
        home_daily: daily drift variance of the level, for margins the home advantage.
    """

    noise: float = 160.0
    daily: float = 0.02
    carry: float = 0.65
    seasonal: float = 6.0
    home_daily: float = 0.0005


@dataclass(frozen=True, slots=True)
class TeamFilter:
    """State of the filter; immutable.

    Attributes:
        mean: (31 + terms,), teams in the order of CODES, then the level, then the coefficients of terms, in points.
        covariance: (31 + terms, 31 + terms), in points squared.
        season: season of the teams, as the year in which it ends; None before the first game.
        date: local date of the last game.
        awaits_season: whether `season` begins after `date`: the change of season has been applied, but no game of it.
        away_sign: sign of the away team's number in a game's expectation: −1 for a margin, 1 for a total.
        level: the level before the first game, in points.
        first_settings: settings from which the trainer's search starts.
        terms: names of the terms of a game; the level is the coefficient of the first one.
    """

    settings: RatingSettings
    mean: Floats
    covariance: Floats
    season: int | None = None
    date: dt.date | None = None
    awaits_season: bool = False

    away_sign: ClassVar[float]
    level: ClassVar[float]
    first_settings: ClassVar[RatingSettings] = RatingSettings()
    terms: ClassVar[tuple[str, ...]]

    @classmethod
    def start(cls, settings: RatingSettings | None = None) -> Self:
        """Create the state before the first game: equal teams, with large variances; coefficients of terms are 0.

        Args:
            settings: parameters of the filter; None for `first_settings`.
        """
        size = LEVEL + len(cls.terms)
        mean, variances = np.zeros(size), np.full(size, _TEAM_VARIANCE)
        mean[LEVEL], variances[LEVEL], variances[FIRST_TERM:] = cls.level, _LEVEL_VARIANCE, _TERM_VARIANCE
        return cls(settings or cls.first_settings, mean, np.diag(variances))

    def check(self) -> None:
        """Check the numbers of the state.

        Raises:
            ValueError: if there are more or fewer of them, they are not finite or too large, or a variance is negative.
        """
        size, most = LEVEL + len(self.terms), MAX_STRENGTH**2
        check_array("its mean", self.mean, np.float64, (size,), -MAX_STRENGTH, MAX_STRENGTH)
        check_array("its covariance", self.covariance, np.float64, (size, size), -most, most)
        if self.covariance.diagonal().min() < 0:
            raise ValueError("its covariance has negative variances")

    @property
    def strengths(self) -> dict[str, float]:
        """NBA code → number of the team, in points above an average one."""
        return dict(zip(CODES, self.mean[:LEVEL].tolist(), strict=True))

    @property
    def newest(self) -> dt.date:
        """Local date of the last game.

        Raises:
            ValueError: if there is none.
        """
        if self.date is None:
            raise ValueError("ratings include no game")
        return self.date

    def is_of_earlier_season(self, game_date: dt.date | None) -> bool:
        """Return whether a game is of a later season than the teams'; False if its date is unknown."""
        return game_date is not None and self.season is not None and season_on(game_date) > self.season

    def predict(self, season: int, day: dt.date | None = None) -> Self:
        """Predict the state before a game of `season` on `day`: adds drift variance, and regresses in a new season.

        A change of season replaces the drift since the last game, and every season in between is a change of its own.
        So the result does not depend on the number of steps: it is the same if the season is predicted first, as for a
        published bundle, and then its first game, or that game directly.

        If games were played but not seen, as in a missed season, all days of play since the last seen game add drift.

        Args:
            season: the season, as the year in which it ends; a season before the state's own counts as the state's.
            day: local date of the game; None if it is not known yet, only the season. A day before the state's own
                counts as that: a game may be reported late.
        """
        if day is not None and self.date is not None:
            day = max(day, self.date)
        mean, covariance, chosen = self.mean.copy(), self.covariance.copy(), self.settings
        awaits_season, teams = self.awaits_season, slice(0, LEVEL)

        def drift(days: int) -> None:
            covariance[teams, teams] += np.eye(LEVEL) * (days * chosen.daily)
            covariance[LEVEL, LEVEL] += days * chosen.home_daily

        if self.season is not None and season > self.season:
            for ended in range(self.season, season):
                drift(self._unseen_days(ended, summer(ended)[0]))
                mean[teams] *= chosen.carry
                covariance[teams] *= chosen.carry
                covariance[:, teams] *= chosen.carry
                covariance[teams, teams] += np.eye(LEVEL) * chosen.seasonal
                covariance[LEVEL, LEVEL] += _LONGEST_GAP * chosen.home_daily
            awaits_season = True
        if self.season is not None and self.date is not None and day is not None and day > self.date:
            unseen = self._unseen_days(max(season, self.season), day)
            seen = 0 if awaits_season else min((day - self.date).days, _LONGEST_GAP)
            drift(unseen or seen)
        return replace(
            self,
            mean=mean,
            covariance=covariance,
            season=season if self.season is None else max(season, self.season),
            date=self.date if day is None else day,
            awaits_season=awaits_season and day is None,
        )

    def _unseen_days(self, season: int, until: dt.date) -> int:
        """Return the number of unseen days of play of a season, up to a date; 0 if they can be a break."""
        begin = summer(season - 1)[1]
        if self.date is not None:
            begin = max(begin, self.date)
        days = days_with_games(begin, until)
        return days if days > _LONGEST_BREAK else 0

    def deviation(self, code: str) -> float:
        """Return the standard deviation of a team's number, in points, rounded to 0.01."""
        return round(math.sqrt(self.covariance[_INDEX[code], _INDEX[code]]), 2)

    def expected(self, home: str, away: str, terms: Sequence[float] = _LEVEL_ALONE) -> tuple[float, float]:
        """Return mean and variance of a game's outcome, in points and points squared."""
        mean, _, variance = self._predicted(home, away, terms)
        return mean, variance

    def update(self, home: str, away: str, outcome: float, terms: Sequence[float] = _LEVEL_ALONE) -> Self:
        """Update the state with the outcome of a game, in points; bit-identical on every machine.

        Args:
            home: NBA code of the home team.
            away: NBA code of the away team.
            outcome: home − away for a margin, home + away for a total.
            terms: the terms of the game, the load of the level first.

        Raises:
            ValueError: if the state gives the outcome no variance, or fails `check` afterwards: a bundle may hold any
                numbers.
        """
        expected, cross, variance = self._predicted(home, away, terms)
        if not variance > 0:
            raise ValueError(f"the outcome of {away} at {home} has the variance {variance:g}; expected more than 0")
        gain = cross / variance
        mean = self.mean + gain * (outcome - expected)
        covariance = self.covariance - np.outer(gain, cross)
        updated = replace(self, mean=mean, covariance=(covariance + covariance.T) / 2)
        updated.check()
        return updated

    def _predicted(self, home: str, away: str, terms: Sequence[float]) -> tuple[float, Floats, float]:
        """Return mean of a game's outcome, its covariance with the state, and its variance.

        A game loads on the numbers of its teams and on the coefficients of its terms that are not 0. These components
        are summed explicitly, in the order of the state: a matrix product with a design vector has a
        summation order that depends on the machine.
        """
        one, other, sign = _INDEX[home], _INDEX[away], self.away_sign
        loads = [(index, load) for index, load in zip(range(LEVEL, len(self.mean)), terms) if load]  # noqa: B905
        mean = float(self.mean[one] + sign * self.mean[other])
        cross = self.covariance[one] + sign * self.covariance[other]
        for index, load in loads:
            mean += load * float(self.mean[index])
            cross += load * self.covariance[index]
        variance = float(cross[one] + sign * cross[other])
        for index, load in loads:
            variance += load * float(cross[index])
        return mean, cross, variance + self.settings.noise


@dataclass(frozen=True, slots=True)
class TotalFilter(TeamFilter):
    """Filter of final totals, overtime included; immutable.

    Each team has one number, the points that its offence and defence together add to the total of its games. Separate
    numbers for offence and defence did not improve forecasts (docs/decisions/0062).

    Its state, (34,), has the contribution of each team to the total of a game, the total of two average teams, and the
    coefficients of the other TotalTerms.
    """

    away_sign: ClassVar[float] = 1.0
    level: ClassVar[float] = 200.0
    # Totals spread more than margins, and their level drifts with the style of play.
    first_settings: ClassVar = RatingSettings(noise=320.0, daily=0.05, carry=0.5, seasonal=10.0, home_daily=0.05)
    terms: ClassVar[tuple[str, ...]] = TotalTerms._fields


FilterT = TypeVar("FilterT", bound=TeamFilter)


def carried_expectations(
    start: FilterT,
    season: NDArray[np.integer],
    day: NDArray[np.datetime64],
    home: NDArray[np.str_],
    away: NDArray[np.str_],
    outcome: NDArray[np.integer] | Floats,
    terms: Sequence[Sequence[float]],
) -> tuple[Floats, Floats, FilterT]:
    """Compute the expectation of each game before tip-off, with a state that is updated game by game.

    Games of one day do not influence each other's expectation: the data does not give their order.

    Args:
        start: the state before the first game.
        season: (n,), season of each game, as the year in which it ends.
        day: (n,), local dates, ascending.
        home: (n,), NBA codes.
        away: (n,), NBA codes.
        outcome: (n,), final differentials or totals, in points.
        terms: n terms of the games; see `TeamFilter.update`.

    Returns:
        Means (n,) in points, variances (n,) in points squared, and the state after the last game.
    """
    means, variances = np.empty(len(outcome)), np.empty(len(outcome))
    state = start
    for today in np.unique(day):
        games = np.flatnonzero(day == today).tolist()
        state = state.predict(int(season[games[0]]), today.astype("datetime64[D]").item())
        for game in games:
            means[game], variances[game] = state.expected(str(home[game]), str(away[game]), terms[game])
        for game in games:
            state = state.update(str(home[game]), str(away[game]), float(outcome[game]), terms[game])
    return means, variances, state


MAX_RATINGS_DAYS: Final = 30
"""Default of the greatest age at which ratings are used, in days; summers are not counted (`dejavu_feed.off_season`).
It is longer than any pause of a season except that of 2020."""

# Uncertainty of margins in usual seasons: 2016 to 2023, without the two that the pandemic moved (docs/evaluation.md).
USUAL_VARIANCES: Final = {MarginSource.UNKNOWN: math.inf, MarginSource.RATED: 27.3, MarginSource.KNOWN: 13.6}
"""Variance of the expected margin, in points squared, that the tables of each source include. RATED: its mean for
margins frozen before a season, on which these tables are fitted; KNOWN: its maximum for two teams with KNOWN_GAMES
games."""


@dataclass(frozen=True, slots=True)
class RatingFilter(TeamFilter):
    """Filter of final differentials; immutable.

    Its state, (35,), has the strengths, the home advantage, and the coefficients of the other GameTerms.
    """

    away_sign: ClassVar[float] = -1.0
    level: ClassVar[float] = 3.0
    terms: ClassVar[tuple[str, ...]] = GameTerms._fields

    def expected_margin_terms(
        self, home: str, away: str, terms: GameTerms = NO_TERMS, *, schedule_known: bool = False
    ) -> ExpectedMarginTerms:
        """Return the terms of the expected final differential of a game before tip-off.

        Args:
            home: NBA code of the home team.
            away: NBA code of the away team.
            terms: the terms of the game.
            schedule_known: whether the schedule of both teams is known (`GameSchedule.is_known`).

        Raises:
            KeyError: if a team is not an NBA code.
        """
        coefficients = self.mean[LEVEL:].tolist()
        worth = GameTerms(*(load * points for load, points in zip(terms, coefficients, strict=True)))
        return ExpectedMarginTerms(
            self.strengths[home] - self.strengths[away],
            worth.home,
            worth.back_to_back + worth.games_in_6_days,
            worth.playoffs,
            worth.altitude,
            schedule_known,
        )


def are_known(teams: Sequence[TeamKnowledge]) -> bool:
    """Return whether teams are known as well as in a usual December."""
    return all(team.deviation <= DECEMBER_DEVIATION for team in teams)


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
