"""Fits the ratings: estimates the settings of the filter, and carries ratings from game to game.

The settings maximize the likelihood of the training games' margins, each predicted from earlier games: prediction error
decomposition (Schweppe 1965; Harvey, Forecasting, Structural Time Series Models and the Kalman Filter, 1989, section
3.4), maximized by the simplex search of Nelder & Mead (1965).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from dejavu_models.arrays import Floats
from dejavu_models.ratings import RatingFilter, RatingSettings, carried_margins, frozen_margins
from dejavu_trainer.data.games import Games

BURN_IN = 0.5
"""Share of the first season's games left out of the likelihood; they depend on the initial state of equal teams."""

_START = RatingSettings()


@dataclass(frozen=True)
class RatedGames:
    """Games with their expected margins before tip-off, from carried ratings.

    Attributes:
        games: n games.
        margins: (n,), expected margins, in points.
        variances: (n,), variances of the margins, in points squared.
        after: state of the ratings after the last game.
    """

    games: Games
    margins: Floats
    variances: Floats
    after: RatingFilter


def carry(start: RatingFilter, games: Games) -> RatedGames:
    """Updates ratings game by game; the games must be later than those already in `start`."""
    return RatedGames(games, *carried_margins(start, games.season, games.date, games.home, games.away, games.final))


def choose_start(games: Games, steps: int, advance: Callable[[int], object]) -> RatingFilter:
    """Returns the initial state with the settings of `fit_ratings` for these games."""
    return RatingFilter.start(fit_ratings(games, steps, advance))


def fit_ratings(games: Games, steps: int, advance: Callable[[int], object]) -> RatingSettings:
    """Estimates the settings by maximum likelihood.

    Args:
        games: training games. The settings between seasons are only estimated from several seasons; with a single one,
            their defaults are kept.
        steps: maximum number of likelihood evaluations; each runs over all games once.
        advance: called as steps are done, `steps` in total.
    """
    several = len(np.unique(games.season)) > 1
    # Do not spend a short search on settings that the games do not identify.
    free = [field.name for field in fields(RatingSettings) if several or field.name not in {"carry", "seasonal"}]
    start = [_to_free(name, getattr(_START, name)) for name in free]
    evaluations = 0

    def objective(values: Floats) -> float:
        nonlocal evaluations
        if evaluations < steps:
            advance(1)
        evaluations += 1
        return mean_nll(_settings(free, values), games)

    simplex = np.array([start] + [[*start[:axis], start[axis] + 0.7, *start[axis + 1 :]] for axis in range(len(start))])
    options = {"initial_simplex": simplex, "maxfev": steps, "xatol": 0.02, "fatol": 1e-5}
    optimum = minimize(objective, start, method="Nelder-Mead", options=options)
    advance(max(steps - evaluations, 0))
    return _settings(free, optimum.x)


def mean_nll(settings: RatingSettings, games: Games) -> float:
    """Returns the mean negative log-likelihood per game after the burn-in, up to a constant."""
    rated = carry(RatingFilter.start(settings), games)
    burn_in = round(BURN_IN * int((games.season == games.season[0]).sum()))
    error, variance = games.final - rated.margins, rated.variances
    return float(np.mean(np.log(variance[burn_in:]) + np.square(error[burn_in:]) / variance[burn_in:])) / 2


def _to_free(name: str, value: float) -> float:
    """Maps a setting to the real line: a share by its logit, a variance by its logarithm."""
    return float(np.log(value / (1 - value)) if name == "carry" else np.log(value))


def _settings(names: Sequence[str], values: Floats) -> RatingSettings:
    chosen = {
        name: float(1 / (1 + np.exp(-value)) if name == "carry" else np.exp(value))
        for name, value in zip(names, values, strict=True)
    }
    return replace(_START, **chosen)


@dataclass(frozen=True, slots=True)
class RatingErrors:
    """Errors of the expected margin before tip-off, in points: mean absolute error and root mean square error.

    Attributes:
        carried: with carried ratings.
        frozen: with ratings frozen at the end of training, shrunk to the mean once for each season since.
        constant: with the home advantage of the training games as margin of every game.
    """

    carried: tuple[float, float]
    frozen: tuple[float, float]
    constant: tuple[float, float]

    def by_forecast(self) -> dict[str, tuple[float, float]]:
        """Returns the errors by name."""
        return {"carried": self.carried, "frozen": self.frozen, "constant": self.constant}


def margins_with_frozen_ratings(before: RatingFilter, games: Games) -> Floats:
    """Computes expected margins with ratings frozen at the start of each season, like those of a bundle.

    Args:
        before: state before the first of the games, updated with at least one game.
        games: n games, later than those in the state; the state is updated between seasons.

    Returns:
        (n,), expected margins in points.
    """
    margins, state = np.empty(len(games)), before
    for season in np.unique(games.season).tolist():
        which = games.season == season
        of_season = games.select(which)
        margins[which] = frozen_margins(state.predict(season).ratings(), of_season.home, of_season.away)
        state = carry(state, of_season).after
    return margins


def rating_errors(past: RatedGames, new: RatedGames) -> RatingErrors:
    """Computes errors of the expected margins: carried, frozen, and home advantage alone.

    Args:
        past: training games; the ratings are frozen after them.
        new: later games.
    """
    games = new.games
    seasons = [int(season) for season in np.unique(games.season)]
    frozen, state = np.empty(len(games)), past.after
    for season in seasons:
        state = state.predict(season)
        which = games.season == season
        frozen[which] = frozen_margins(state.ratings(), games.home[which], games.away[which])
    constant = np.full(len(games), past.games.final.mean())
    return RatingErrors(*(_errors(forecast, games.final) for forecast in (new.margins, frozen, constant)))


def _errors(forecast: Floats, final: NDArray[np.int16]) -> tuple[float, float]:
    error = forecast - final
    return float(np.abs(error).mean()), float(np.sqrt(np.square(error).mean()))
