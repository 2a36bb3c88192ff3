"""Team strength from results: what differential to expect of a game before it begins.

A linear-Gaussian state-space model of final margins, filtered game by game (Glickman & Stern, A state-space model for
National Football League scores, JASA 93, 1998; the filter: Kalman 1960). The state is each team's strength and the
home advantage, in points. Strengths wander from day to day and are drawn towards the mean between seasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.names import TEAMS
from dejavu_models.arrays import Floats

CODES: tuple[str, ...] = tuple(TEAMS)
_PLACES = {code: place for place, code in enumerate(CODES)}
_HOME = len(CODES)
_LONGEST_GAP = 10
"""Days by which strengths wander at most between two games: in a break nobody plays."""


@dataclass(frozen=True, slots=True)
class RatingSettings:
    """What the trainer chose; variances in points squared.

    Attributes:
        noise: variance of a game's margin around the expected one.
        daily: variance by which a strength wanders in a day.
        carry: share of a strength that is left in the next season, in [0, 1].
        seasonal: variance that a new season adds to a strength.
        home_daily: variance by which the home advantage wanders in a day.
    """

    noise: float = 160.0
    daily: float = 0.02
    carry: float = 0.65
    seasonal: float = 6.0
    home_daily: float = 0.0005


@dataclass(frozen=True, slots=True)
class Ratings:
    """Team strengths as they stand after some game.

    Attributes:
        strengths: NBA code → points above an average team, on a neutral court.
        home_advantage: in points.
        date: local date of the last game counted.

    Raises:
        ValueError: if a team is missing or a value is not finite.
    """

    strengths: Mapping[str, float]
    home_advantage: float
    date: date

    def __post_init__(self) -> None:
        if set(self.strengths) != set(CODES):
            raise ValueError(f"ratings: not of the NBA's {len(CODES)} teams, each once")
        if not np.isfinite([*self.strengths.values(), self.home_advantage]).all():
            raise ValueError("ratings must be finite")

    def expected_margin(self, home: str, away: str) -> float:
        """The expected final differential of a game before it begins, in points.

        Args:
            home: NBA code of the home team.
            away: NBA code of the away team.

        Raises:
            KeyError: if one is no NBA code.
        """
        return self.strengths[home] - self.strengths[away] + self.home_advantage


@dataclass(frozen=True, slots=True)
class RatingFilter:
    """The filter's state: immutable, each game gives a new one.

    Attributes:
        mean: (31,), strengths in the order of CODES and the home advantage, in points.
        covariance: (31, 31), in points squared.
        season: of the last game, as the year in which it ends; None before the first one.
        date: of the last game.
    """

    settings: RatingSettings
    mean: Floats
    covariance: Floats
    season: int | None = None
    date: np.datetime64 | None = None

    @classmethod
    def start(cls, settings: RatingSettings) -> Self:
        """Before the first game: all teams alike, a home advantage of about 3 points, and little known of either."""
        size = len(CODES) + 1
        mean, covariance = np.zeros(size), np.eye(size) * 25.0
        mean[_HOME], covariance[_HOME, _HOME] = 3.0, 1.0
        return cls(settings, mean, covariance)

    def at(self, season: int, day: np.datetime64 | None = None) -> Self:
        """The state before a game of `season` on `day`: drawn towards the mean if the season is new, and less sure."""
        mean, covariance, chosen = self.mean, self.covariance, self.settings
        teams = slice(0, _HOME)
        if self.season is not None and season != self.season:
            mean, covariance = mean.copy(), covariance.copy()
            mean[teams] *= chosen.carry
            covariance[teams] *= chosen.carry
            covariance[:, teams] *= chosen.carry
            covariance[teams, teams] += np.eye(_HOME) * chosen.seasonal
            covariance[_HOME, _HOME] += _LONGEST_GAP * chosen.home_daily
        elif self.date is not None and day is not None and day > self.date:
            days = min(int((day - self.date) / np.timedelta64(1, "D")), _LONGEST_GAP)
            covariance = covariance.copy()
            covariance[teams, teams] += np.eye(_HOME) * (days * chosen.daily)
            covariance[_HOME, _HOME] += days * chosen.home_daily
        return replace(
            self, mean=mean, covariance=covariance, season=season, date=day if day is not None else self.date
        )

    def expected(self, home: str, away: str) -> tuple[float, float]:
        """Mean and variance of a game's final differential, in points and points squared."""
        mean, _, variance = self._foreseen(home, away)
        return mean, variance

    def after(self, home: str, away: str, differential: float) -> Self:
        """The state once a game has ended with a final differential, in points; the same to the last bit anywhere."""
        expected, covered, variance = self._foreseen(home, away)
        gain = covered / variance
        mean = self.mean + gain * (differential - expected)
        covariance = self.covariance - np.outer(gain, covered)
        return replace(self, mean=mean, covariance=(covariance + covariance.T) / 2)

    def _foreseen(self, home: str, away: str) -> tuple[float, Floats, float]:
        """What a game's differential is expected to be, its covariance with the state, and its variance.

        A game loads on three places of the state. They are summed here, and not by a product with a vector of zeros
        and ones, whose order of summation depends on the machine.
        """
        one, other = _PLACES[home], _PLACES[away]
        mean = float(self.mean[one] - self.mean[other] + self.mean[_HOME])
        covered = self.covariance[one] - self.covariance[other] + self.covariance[_HOME]
        variance = float(covered[one] - covered[other] + covered[_HOME]) + self.settings.noise
        return mean, covered, variance

    def ratings(self) -> Ratings:
        """The strengths as they stand.

        Raises:
            ValueError: if no game has been counted.
        """
        if self.date is None:
            raise ValueError("ratings of no game")
        strengths = dict(zip(CODES, self.mean[:_HOME].tolist(), strict=True))
        return Ratings(strengths, float(self.mean[_HOME]), self.date.astype("datetime64[D]").item())


def carried_margins(
    start: RatingFilter,
    season: NDArray[np.integer],
    day: NDArray[np.datetime64],
    home: NDArray[np.str_],
    away: NDArray[np.str_],
    final: NDArray[np.integer] | Floats,
) -> tuple[Floats, Floats, RatingFilter]:
    """What was expected of each game before it began, with ratings carried from game to game.

    Games of one day do not know of each other: which of them ended first is not told.

    Args:
        start: the state before the first game.
        season: (n,), years in which the seasons end.
        day: (n,), local dates, ascending.
        home: (n,), NBA codes.
        away: (n,), NBA codes.
        final: (n,), final differentials, in points.

    Returns:
        Means (n,) in points, variances (n,) in points squared, and the state after the last game.
    """
    means, variances = np.empty(len(final)), np.empty(len(final))
    state = start
    for today in np.unique(day):
        games = np.flatnonzero(day == today)
        state = state.at(int(season[games[0]]), today)
        for game in games:
            means[game], variances[game] = state.expected(str(home[game]), str(away[game]))
        for game in games:
            state = state.after(str(home[game]), str(away[game]), float(final[game]))
    return means, variances, state


def frozen_margins(ratings: Ratings, home: NDArray[np.str_], away: NDArray[np.str_]) -> Floats:
    """What is expected of games, (n,) in points, if ratings stay as they are."""
    return np.array([ratings.expected_margin(str(one), str(other)) for one, other in zip(home, away, strict=True)])
