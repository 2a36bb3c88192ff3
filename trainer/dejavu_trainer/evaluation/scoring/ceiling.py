"""Reference forecasts of the same games: one with ratings in hindsight (a ceiling), one as a plain diffusion.

The first needs results of later games; the second is the simplest model with a distribution for every minute. They show
how much forecasts could gain from better ratings, and how little a model of a game's course adds to a random walk
towards the expected margin.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from dejavu_feed.pattern import REGULATION_MINUTES
from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, HORIZONS
from dejavu_trainer.data.games import Games
from dejavu_trainer.training.ratings import RatedGames

RIDGE: Final = 7.0
"""Ridge penalty of a team's strength, as an equivalent number of games. It has the lowest error on 2015 to 2018."""


def hindsight_margins(games: Games) -> Floats:
    """Compute expected margins from all other games of the same season, earlier and later ones.

    In each season, the strengths of the teams and the home advantage are fitted by ridge regression; the game itself
    is left out (by the leverages), so that its margin uses only the other games. Strengths are constant over the season
    and line-ups are unknown, so hindsight could do even better; no forecast can have even these ratings.

    Args:
        games: n games.

    Returns:
        (n,), expected final differentials in points.
    """
    result = np.empty(len(games))
    for season in np.unique(games.season):
        of_season = games.season == season
        result[of_season] = _left_out(games.select(of_season))
    return result


def _left_out(games: Games) -> Floats:
    teams = np.unique(np.concatenate([games.home, games.away]))
    rows = np.arange(len(games))
    inputs = np.zeros((len(games), len(teams) + 1))
    inputs[rows, np.searchsorted(teams, games.home)] = 1.0
    inputs[rows, np.searchsorted(teams, games.away)] -= 1.0
    inputs[:, -1] = 1.0
    penalty = np.diag([RIDGE] * len(teams) + [1e-6])
    hat = inputs @ np.linalg.solve(inputs.T @ inputs + penalty, inputs.T)
    final = games.final.astype(np.float64)
    leverage = np.minimum(np.diag(hat), 1 - 1e-9)
    margins: Floats = final - (final - hat @ final) / (1 - leverage)
    return margins


def diffusion(past: RatedGames, rated: RatedGames) -> tuple[Floats, Floats]:
    """Forecast games as a Brownian motion with drift.

    The drift is the expected margin; the volatility is the same in all games and minutes (Stern, A Brownian motion
    model for the progress of sports scores, 1994).

    Args:
        past: earlier games that the volatility is fitted on, at least one, with finite margins.
        rated: n games, with finite margins.

    Returns:
        Means, (n, cases), and standard deviations, (cases,), of normal distributions, in points.
    """
    left = np.array([HORIZONS[index].minutes - minute for index, minute in CASES]) / REGULATION_MINUTES
    outcomes = past.games.outcomes[:, [index for index, _ in CASES]]
    squares = np.square(outcomes - _means(past, left)) / left
    deviations: Floats = np.sqrt(squares.mean() * left)
    return _means(rated, left), deviations


def _means(rated: RatedGames, left: Floats) -> Floats:
    leads = rated.games.levels[:, [minute - 1 for _, minute in CASES]]
    means: Floats = leads + rated.margins[:, None] * left
    return means
