"""What forecasts are held against: the lead stays as it is, a linear model with a rating, and a logistic regression."""

from __future__ import annotations

import warnings
from typing import Final, NamedTuple

import numpy as np
from scipy.linalg import LinAlgWarning
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from dejavu_models.arrays import Floats
from dejavu_models.point.linear import LinearModels
from dejavu_models.types import HORIZONS, MAX_SLOTS
from dejavu_trainer.data.games import Games

SCALE: Final = 10.0
"""Points by which leads and margins are divided before the regression, so that its steps are of one size."""

SURE: Final = 1e-6
"""A logistic regression's probability stays so far from 0 and 1: at the last minute it would else round to them, and
one game would make its log loss infinite."""


class GamesWithMargins(NamedTuple):
    """Games with what was expected of them.

    Attributes:
        games: n of them.
        margins: (n,), the expected final differential of each before it began, in points.
    """

    games: Games
    margins: Floats

    def select(self, which: np.ndarray) -> GamesWithMargins:
        """The games that a mask or an array of ascending indices picks."""
        return GamesWithMargins(self.games.select(which), self.margins[which])

    def of_seasons(self, seasons: tuple[int, ...] | list[int] | range) -> GamesWithMargins:
        """The games of some seasons."""
        return self.select(np.isin(self.games.season, list(seasons)))


def persistence(games: Games) -> Floats:
    """That nothing changes: (n, 47 minutes, 2 horizons), the differentials that each minute forecasts, in points."""
    return np.repeat(games.levels[:, :, None], len(HORIZONS), axis=2)


def linear_forecasts(linear: LinearModels, rated: GamesWithMargins) -> Floats:
    """On lead and expected margin: (n, 47 minutes, 2 horizons), in points; NaN for a horizon that has passed."""
    leads = rated.games.levels
    return leads[:, :, None] + linear.increments(slice(1, MAX_SLOTS + 1), leads, rated.margins)


def logistic_probabilities(past: GamesWithMargins, rated: GamesWithMargins) -> Floats:
    """That the home team leads at a horizon, by a logistic regression without penalty on lead and expected margin.

    One is fitted for each horizon and minute (scikit-learn).

    Args:
        past: the games to fit on.
        rated: the games to forecast.

    Returns:
        (n, 47 minutes, 2 horizons), in (0, 1); NaN for a horizon that has passed.
    """
    result = np.full((len(rated.games), MAX_SLOTS, len(HORIZONS)), np.nan)
    happened = past.games.outcomes > 0
    for place, horizon in enumerate(HORIZONS):
        for minute in range(1, horizon.last_slot + 1):
            result[:, minute - 1, place] = _logistic(_inputs(past, minute), happened[:, place], _inputs(rated, minute))
    return result


def _inputs(rated: GamesWithMargins, minute: int) -> Floats:
    return np.stack([rated.games.levels[:, minute - 1], rated.margins], axis=1) / SCALE


def _logistic(inputs: Floats, happened: np.ndarray, asked: Floats) -> Floats:
    if happened.all() or not happened.any():  # a handful of games may all have ended alike
        return np.full(len(asked), np.clip(float(happened[0]), SURE, 1 - SURE))
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8)
    with warnings.catch_warnings():
        # Where a few games are told apart without error, there is no end to how steep the best curve is.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", LinAlgWarning)
        model.fit(inputs, happened)
    probability: Floats = np.clip(model.predict_proba(asked)[:, 1], SURE, 1 - SURE)
    return probability
