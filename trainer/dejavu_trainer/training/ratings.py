"""Fits the ratings: chooses how strengths wander, and carries them from game to game.

The settings are those under which the margins of the training games were least surprising, each foretold from the games
before it: maximum likelihood by the prediction error decomposition (Schweppe 1965; Harvey, Forecasting, Structural Time
Series Models and the Kalman Filter, 1989, section 3.4), found by the simplex search of Nelder & Mead (1965).
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
"""Of the first season's games: what they are said to surprise with tells of the start, where all teams are alike."""

_START = RatingSettings()


@dataclass(frozen=True)
class RatedGames:
    """Games with what was expected of them before they began, ratings carried from game to game.

    Attributes:
        games: n of them.
        margins: (n,), means, in points.
        variances: (n,), in points squared.
        after: the ratings' state after the last game.
    """

    games: Games
    margins: Floats
    variances: Floats
    after: RatingFilter


def carry(start: RatingFilter, games: Games) -> RatedGames:
    """Carries ratings through games that come after those that `start` has counted."""
    return RatedGames(games, *carried_margins(start, games.season, games.date, games.home, games.away, games.final))


def choose_start(games: Games, steps: int, advance: Callable[[int], object]) -> RatingFilter:
    """The state before the first game, with the settings under which these games surprise least; as `fit_ratings`."""
    return RatingFilter.start(fit_ratings(games, steps, advance))


def fit_ratings(games: Games, steps: int, advance: Callable[[int], object]) -> RatingSettings:
    """The settings under which the games surprise least.

    Args:
        games: those to train on; seasons that follow each other tell how strengths carry over, a single one does not,
            and the default is kept then.
        steps: evaluations of the likelihood at most; each runs over all games once.
        advance: called as so many steps are done.
    """
    several = len(np.unique(games.season)) > 1
    # A short search has no room for what the games can't tell.
    free = [field.name for field in fields(RatingSettings) if several or field.name not in {"carry", "seasonal"}]
    start = [_to_free(name, getattr(_START, name)) for name in free]
    taken = 0

    def surprise(values: Floats) -> float:
        nonlocal taken
        if taken < steps:
            advance(1)
        taken += 1
        return mean_nll(_settings(free, values), games)

    simplex = np.array([start] + [[*start[:axis], start[axis] + 0.7, *start[axis + 1 :]] for axis in range(len(start))])
    options = {"initial_simplex": simplex, "maxfev": steps, "xatol": 0.02, "fatol": 1e-5}
    found = minimize(surprise, start, method="Nelder-Mead", options=options)
    advance(max(steps - taken, 0))
    return _settings(free, found.x)


def mean_nll(settings: RatingSettings, games: Games) -> float:
    """The mean negative log-likelihood of a game's margin, less a constant, once the burn-in is over."""
    expected = carry(RatingFilter.start(settings), games)
    burnt = round(BURN_IN * int((games.season == games.season[0]).sum()))
    error, variance = games.final - expected.margins, expected.variances
    return float(np.mean(np.log(variance[burnt:]) + np.square(error[burnt:]) / variance[burnt:])) / 2


def _to_free(name: str, value: float) -> float:
    """Onto the whole line: a share by its logit, a variance by its logarithm."""
    return float(np.log(value / (1 - value)) if name == "carry" else np.log(value))


def _settings(names: Sequence[str], values: Floats) -> RatingSettings:
    chosen = {
        name: float(1 / (1 + np.exp(-value)) if name == "carry" else np.exp(value))
        for name, value in zip(names, values, strict=True)
    }
    return replace(_START, **chosen)


@dataclass(frozen=True, slots=True)
class RatingErrors:
    """How far expected margins were off before tip-off, in points: mean absolute error and root mean square.

    Attributes:
        carried: with ratings carried from game to game.
        frozen: with ratings as they stood at the end of training, drawn to the mean once for each season since.
        constant: with the home advantage of the training games for every game.
    """

    carried: tuple[float, float]
    frozen: tuple[float, float]
    constant: tuple[float, float]

    def by_forecast(self) -> dict[str, tuple[float, float]]:
        """By name."""
        return {"carried": self.carried, "frozen": self.frozen, "constant": self.constant}


def margins_with_frozen_ratings(before: RatingFilter, games: Games) -> Floats:
    """What is expected of games if ratings stand still from before a season to its end, as those of a bundle do.

    Args:
        before: the state before the first of the games; it has counted one at least.
        games: n, later than all that it has counted; each season begins with what was known at its start.

    Returns:
        (n,), in points.
    """
    margins, state = np.empty(len(games)), before
    for season in np.unique(games.season).tolist():
        which = games.season == season
        of_season = games.select(which)
        margins[which] = frozen_margins(state.at(season).ratings(), of_season.home, of_season.away)
        state = carry(state, of_season).after
    return margins


def rating_errors(past: RatedGames, new: RatedGames) -> RatingErrors:
    """Holds expected margins of games against what came, beside the home advantage alone.

    Args:
        past: the training games; the ratings are frozen after them.
        new: later games.
    """
    games = new.games
    seasons = [int(season) for season in np.unique(games.season)]
    frozen, state = np.empty(len(games)), past.after
    for season in seasons:
        state = state.at(season)
        which = games.season == season
        frozen[which] = frozen_margins(state.ratings(), games.home[which], games.away[which])
    constant = np.full(len(games), past.games.final.mean())
    return RatingErrors(*(_errors(forecast, games.final) for forecast in (new.margins, frozen, constant)))


def _errors(forecast: Floats, final: NDArray[np.int16]) -> tuple[float, float]:
    error = forecast - final
    return float(np.abs(error).mean()), float(np.sqrt(np.square(error).mean()))
