"""The reference forecast of the probability of a home lead: logistic regression on lead and expected margin."""

from __future__ import annotations

import warnings
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS
from dejavu_trainer.training.ratings import RatedGames

SCALE: Final = 10.0
"""Divisor of leads and margins before the regression, in points; conditions the optimisation."""

SURE: Final = 1e-6
"""Minimum distance of the logistic regression's probabilities from 0 and 1: at the last minute they would round to 0 or
1, and a single game would make the log loss infinite."""


def logistic_probabilities(past: RatedGames, rated: RatedGames) -> Floats:
    """Forecasts the probability of a home lead by unpenalised logistic regression on lead and expected margin.

    Fits one regression per horizon and minute (scikit-learn) on past games.

    Returns:
        (n, 47 minutes, 2 horizons), in (0, 1); NaN for a horizon that has passed.
    """
    result = np.full((len(rated.games), MAX_SLOTS, len(HORIZONS)), np.nan)
    happened = past.games.outcomes > 0
    for index, minute in CASES:
        result[:, minute - 1, index] = _logistic(_inputs(past, minute), happened[:, index], _inputs(rated, minute))
    return result


def _inputs(rated: RatedGames, minute: int) -> Floats:
    return np.stack([rated.games.levels[:, minute - 1], rated.margins], axis=1) / SCALE


def _logistic(inputs: Floats, happened: np.ndarray, queries: Floats) -> Floats:
    if happened.all() or not happened.any():  # with few games, all outcomes may be the same
        return np.full(len(queries), np.clip(float(happened[0]), SURE, 1 - SURE))
    # Imported late: scikit-learn takes seconds to load, and only fits of this baseline need it.
    from scipy.linalg import LinAlgWarning
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8)
    with warnings.catch_warnings():
        # If few games are perfectly separable, the coefficients diverge.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", LinAlgWarning)
        model.fit(inputs, happened)
    probability: Floats = np.clip(model.predict_proba(queries)[:, 1], SURE, 1 - SURE)
    return probability
