"""Fits the settings of the Kalman filter that rates teams (`TeamFilter`).

They maximize the likelihood of the training games' outcomes, each predicted from earlier games: prediction error
decomposition (Schweppe 1965; Harvey, Forecasting, Structural Time Series Models and the Kalman Filter, 1989, section
3.4), maximized by the simplex search of Nelder & Mead (1965).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.team_filter import FilterT, RatingSettings, TeamFilter, carried_expectations
from dejavu_trainer.data.games import Games
from dejavu_trainer.execution import Advance

BURN_IN = 0.5
"""Share of the first season's games left out of the likelihood; they depend on the initial state of equal teams."""


def carried(
    start: FilterT, games: Games, outcomes: Floats, terms: Sequence[Sequence[float]]
) -> tuple[Floats, Floats, FilterT]:
    """Carry a filter from game to game; see `carried_expectations`."""
    return carried_expectations(start, games.season, games.date, games.home, games.away, outcomes, terms)


def fit_settings(
    start: TeamFilter, games: Games, outcomes: Floats, terms: Sequence[Sequence[float]], steps: int, advance: Advance
) -> RatingSettings:
    """Estimate the settings of a filter by maximum likelihood.

    Args:
        start: the state before the first game, with the settings from which the search starts.
        games: n training games. `carry` and `seasonal` are estimated only if there are several seasons; otherwise they
            stay unchanged.
        outcomes: (n,), the filter's target of each game, in points.
        terms: (n, k), regressors of each game's outcome; a filter without terms uses only the first.
        steps: maximum number of likelihood evaluations; each runs over all games once.
        advance: called with the number of steps done, `steps` in total.
    """
    from scipy.optimize import minimize  # imported late: it takes a second, and all of the trainer imports this module

    several = len(np.unique(games.season)) > 1
    # Do not spend a short search on settings that the games do not identify.
    free = [field.name for field in fields(RatingSettings) if several or field.name not in {"carry", "seasonal"}]
    first = [_to_free(name, getattr(start.settings, name)) for name in free]
    evaluations = 0

    def objective(values: Floats) -> float:
        nonlocal evaluations
        if evaluations < steps:
            advance(1)
        evaluations += 1
        return mean_nll(replace(start, settings=_settings(start.settings, free, values)), games, outcomes, terms)

    simplex = np.array([first] + [[*first[:axis], first[axis] + 0.7, *first[axis + 1 :]] for axis in range(len(first))])
    options = {"initial_simplex": simplex, "maxfev": steps, "xatol": 0.02, "fatol": 1e-5}
    optimum = minimize(objective, first, method="Nelder-Mead", options=options)
    advance(max(steps - evaluations, 0))
    return _settings(start.settings, free, optimum.x)


def mean_nll(start: TeamFilter, games: Games, outcomes: Floats, terms: Sequence[Sequence[float]]) -> float:
    """Return the mean negative log-likelihood per game after the burn-in, up to a constant.

    Args:
        start: the state before the first game, with the settings in question.
        games: n games.
        outcomes: (n,), the filter's target of each game, in points.
        terms: (n, k), regressors of each game's outcome; a filter without terms uses only the first.
    """
    expected, variance, _ = carried(start, games, outcomes, terms)
    burn_in = round(BURN_IN * int((games.season == games.season[0]).sum()))
    error = outcomes - expected
    return float(np.mean(np.log(variance[burn_in:]) + np.square(error[burn_in:]) / variance[burn_in:])) / 2


def _to_free(name: str, value: float) -> float:
    """Map a setting to the real line: a share by its logit, a variance by its logarithm."""
    return float(np.log(value / (1 - value)) if name == "carry" else np.log(value))


def _settings(base: RatingSettings, names: Sequence[str], values: Floats) -> RatingSettings:
    chosen = {
        name: float(1 / (1 + np.exp(-value)) if name == "carry" else np.exp(value))
        for name, value in zip(names, values, strict=True)
    }
    return replace(base, **chosen)
