"""The reference forecasts, fitted on all games before the tested ones.

A reference fitted on fewer seasons than possible would flatter the models. So linear and logistic regressions are
fitted on every earlier game, and the distributions of the linear ones and of persistence have a residual of every
earlier game. Residuals of the linear models are out of season: each season's by models fitted on the other seasons. On
2017 and 2018 this gave a lower CRPS than residuals of the two seasons before the tested one by models fitted without
them; one cell for all leads gave a lower CRPS than several, since residuals are scaled by lead. The expected margins of
the references are those of the models: ratings with the schedule or, where the models know it, the line.

Two more show how much forecasts could gain from better ratings, and how little a model of a game's course adds to a
random walk towards the expected margin: one with ratings in hindsight, which needs results of later games (a ceiling),
and a plain diffusion, the simplest model with a distribution for every minute.
"""

from __future__ import annotations

import warnings
from typing import Final

import numpy as np

from dejavu_feed.pattern import REGULATION_MINUTES
from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, MarginSource
from dejavu_models.uncertainty.lead_groups import UNSCALED, lead_groups
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.scoring.conformal import MIN_CELL, PredictiveDistribution, min_cell_size
from dejavu_trainer.training.lattice import MIN_SCALE
from dejavu_trainer.training.linear import fit_linear, linear_points, out_of_season_points
from dejavu_trainer.training.ratings import RatedGames

SCALE: Final = 10.0
"""Divisor of leads and margins before the regression, in points; conditions the optimisation."""

PRIOR_GAMES: Final = 40
"""Weight of all leads in the scale of a lead group, in games."""

SURE: Final = 1e-6
"""Minimum distance of the logistic regression's probabilities from 0 and 1: at the last minute they would round to 0 or
1, and a single game would make the log loss infinite."""


def linear_baseline(past: RatedGames, rated: RatedGames) -> tuple[Floats, list[PredictiveDistribution]]:
    """Forecast games by linear models on lead and expected margin that are fitted on all earlier games.

    Args:
        past: the earlier games, at least one, with finite margins.
        rated: n games, with finite margins.

    Returns:
        Point forecasts, (n, 47 minutes, 2 horizons), in points; NaN for a horizon that has passed. And the distribution
        of the outcome around them, for each of CASES.
    """
    models = fit_linear(*past)
    known = MarginSource.KNOWN
    out_of_season = out_of_season_points(past, {known: past.margins}, curved=False)[known]
    scales = lead_scales(past.games, past.games.outcomes[:, None, :] - linear_points(models, past))
    # With all games as the minimum, there is one cell, except in the fourth quarter (see
    # `conformal.min_cell_size`).
    distributions = _fit_distributions(out_of_season, past.games, scales, len(past.games))
    return linear_points(models, rated), distributions


def lead_scales(games: Games, residuals: Floats) -> Floats:
    """Return the root mean square of residuals by horizon, minute and lead group, (2, 48, 4), in points.

    Groups are shrunk towards the mean over all leads with the weight of PRIOR_GAMES games. Before tip-off, where there
    is no lead, and for horizons that have passed, the scale is 1.

    Args:
        games: n games.
        residuals: (n, 47 minutes, 2 horizons), in points.
    """
    squares = np.square(residuals)
    overall = squares.mean(axis=0)
    groups = lead_groups(games.levels)
    scales = np.ones((len(HORIZONS), MAX_SLOTS + 1, len(UNSCALED)))
    for group in range(len(UNSCALED)):
        of_group = (groups == group)[:, :, None]
        counts = of_group.sum(axis=0)
        mean = ((squares * of_group).sum(axis=0) + PRIOR_GAMES * overall) / (counts + PRIOR_GAMES)
        scales[:, 1:, group] = np.sqrt(mean).T
    for index, horizon in enumerate(HORIZONS):
        scales[index, horizon.last_slot + 1 :] = 1.0
    return np.maximum(scales, MIN_SCALE)


def persistence_baseline(past: RatedGames, rated: RatedGames) -> tuple[Floats, list[PredictiveDistribution]]:
    """Forecast that the lead stays, with its changes in all earlier games as distribution; see `linear_baseline`."""
    unscaled = np.ones((len(HORIZONS), MAX_SLOTS + 1, len(UNSCALED)))
    points, of_past = (np.repeat(each.games.levels[:, :, None], len(HORIZONS), axis=2) for each in (rated, past))
    return points, _fit_distributions(of_past, past.games, unscaled, MIN_CELL)


def _fit_distributions(points: Floats, games: Games, scales: Floats, min_cell: int) -> list[PredictiveDistribution]:
    """Fit predictive distributions to the residuals of point forecasts, one for each of CASES.

    Args:
        points: (n, 47 minutes, 2 horizons), forecasts of the games, in points.
        games: n games that the model has not seen.
        scales: (2 horizons, 48 minutes, 4), see `lead_scales`.
        min_cell: minimum number of games of a cell by lead; see `conformal.min_cell_size`.
    """
    leads, outcomes = games.levels, games.outcomes
    return [
        PredictiveDistribution.fit(
            HORIZONS[index],
            points[:, minute - 1, index],
            leads[:, minute - 1],
            outcomes[:, index],
            scales=scales[index, minute].tolist(),
            min_cell=min_cell_size(HORIZONS[index], minute, min_cell),
        )
        for index, minute in CASES
    ]


def logistic_probabilities(past: RatedGames, rated: RatedGames) -> Floats:
    """Forecast the probability of a home lead by unpenalised logistic regression on lead and expected margin.

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
