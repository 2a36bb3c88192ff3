"""The reference forecasts, fitted on all games before the tested ones.

A reference fitted on fewer seasons than possible would flatter the models. So linear and logistic regressions are
fitted on every earlier game, and the distributions of the linear ones and of persistence have a residual of every
earlier game. Residuals of the linear models are out of season: each season's by models fitted on the other seasons. On
2017 and 2018 this gave a lower CRPS than residuals of the two seasons before the tested one by models fitted without
them; one cell for all leads gave a lower CRPS than several, since residuals are scaled by lead. The expected margins of
the references are those of the models: ratings with the schedule or, where the models know it, the line.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.distribution import EDGES, LatticeDistribution, from_cumulative
from dejavu_models.uncertainty.lead_groups import UNSCALED, lead_groups
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.scoring.lattice_scores import ALL_CASES, whole_number_scores
from dejavu_trainer.evaluation.scoring.residuals import MIN_CELL, ResidualDistribution, min_cell_size
from dejavu_trainer.evaluation.table import Columns
from dejavu_trainer.training.lattice import MIN_SCALE
from dejavu_trainer.training.linear import fit_linear, linear_points, out_of_season_points
from dejavu_trainer.training.ratings import RatedGames

NEWEST_SEASONS: Final = 2
"""Number of seasons whose residuals give the spread of the normal reference: it follows the volatility of the game."""

SCALE: Final = 10.0
"""Divisor of leads and margins before the regression, in points; conditions the optimisation."""

PRIOR_GAMES: Final = 40
"""Weight of all leads in the scale of a lead group, in games."""

SURE: Final = 1e-6
"""Minimum distance of the logistic regression's probabilities from 0 and 1: at the last minute they would round to 0 or
1, and a single game would make the log loss infinite."""


def references(past: RatedGames, rated: RatedGames, cases: Sequence[int] = ALL_CASES) -> dict[str, Columns]:
    """Score the references that know the lead and an expected margin, fitted on all earlier games.

    Args:
        past: the earlier games, at least one, with finite margins.
        rated: n games, with finite margins.
        cases: indices in CASES.

    Returns:
        (n, cases), by forecaster. `linear`: one linear model a minute with the distribution of its residuals; `normal`:
        the same point with a normal distribution on whole numbers, whose spread is that of the newest seasons by size
        of lead; `logistic`: one logistic regression a minute, probabilities alone.
    """
    games, models, known = past.games, fit_linear(*past), MarginSource.KNOWN
    points = linear_points(models, rated)
    out_of_season = out_of_season_points(past, {known: past.margins}, curved=False)[known]
    scales = lead_scales(games, games.outcomes[:, None, :] - linear_points(models, past))
    newest = np.isin(games.season, np.unique(games.season)[-NEWEST_SEASONS:])
    recent = games.select(newest)
    spreads = lead_scales(recent, recent.outcomes[:, None, :] - out_of_season[newest])

    def normal(index: int, minute: int) -> tuple[Floats, LatticeDistribution]:
        from scipy import special  # imported late: it takes a second

        center = points[:, minute - 1, index]
        spread = spreads[index, minute, lead_groups(rated.games.levels[:, minute - 1])]
        below = special.ndtr((EDGES - center[:, None]) / spread[:, None])
        return center, from_cumulative(below, ties=HORIZONS[index] is Horizon.HALFTIME)

    tested = points, rated.games
    return {
        # With all games as the minimum, there is one cell, except in the fourth quarter (`residuals.min_cell_size`).
        "linear": _residual_forecasts((out_of_season, games), tested, scales, len(games), cases),
        "normal": whole_number_scores(normal, rated.games.outcomes, cases=cases),
        "logistic": {"probability": logistic_probabilities(past, rated, cases).astype(np.float32)},
    }


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


def persistence(past: Games, games: Games) -> Columns:
    """Score the forecast that the lead stays, with its changes in all earlier games as distribution, (n, cases)."""
    unscaled = np.ones((len(HORIZONS), MAX_SLOTS + 1, len(UNSCALED)))
    of_past, of_games = (np.repeat(each.levels[:, :, None], len(HORIZONS), axis=2) for each in (past, games))
    return _residual_forecasts((of_past, past), (of_games, games), unscaled, MIN_CELL, ALL_CASES)


def _residual_forecasts(
    past: tuple[Floats, Games], tested: tuple[Floats, Games], scales: Floats, min_cell: int, cases: Sequence[int]
) -> Columns:
    """Score point forecasts with the distributions of the residuals of earlier games, (n, cases).

    Args:
        past: points, (m, 47 minutes, 2 horizons), of earlier games that the model has not seen, and these games.
        tested: those of n games.
        scales: (2 horizons, 48 minutes, 4), see `lead_scales`.
        min_cell: minimum number of games of a cell by lead; see `residuals.min_cell_size`.
        cases: indices in CASES.
    """
    found = []
    for index, minute in (CASES[case] for case in cases):
        (points, leads, outcomes), of_games = (
            (of[:, minute - 1, index], games.levels[:, minute - 1], games.outcomes[:, index])
            for of, games in (past, tested)
        )
        distribution = ResidualDistribution.fit(
            HORIZONS[index],
            points,
            leads,
            outcomes,
            scales=scales[index, minute],
            min_cell=min_cell_size(HORIZONS[index], minute, min_cell),
        )
        found.append(distribution.scored(*of_games))
    return {name: np.stack([each[name] for each in found], axis=1) for name in found[0]}


def logistic_probabilities(past: RatedGames, rated: RatedGames, cases: Sequence[int] = ALL_CASES) -> Floats:
    """Forecast the probability of a home lead by unpenalised logistic regression on lead and expected margin.

    Fits one regression per horizon and minute (scikit-learn) on past games.

    Returns:
        (n, cases), in (0, 1).
    """
    happened = past.games.outcomes > 0
    found = [
        logistic_regression(_inputs(past, minute), happened[:, index], _inputs(rated, minute), np.inf)
        for index, minute in (CASES[case] for case in cases)
    ]
    return np.stack(found, axis=1)


def _inputs(rated: RatedGames, minute: int) -> Floats:
    return np.stack([rated.games.levels[:, minute - 1], rated.margins], axis=1) / SCALE


def logistic_regression(inputs: Floats, happened: NDArray[np.bool_], queries: Floats, inverse_penalty: float) -> Floats:
    """Return probabilities by logistic regression, (n,) in (0, 1).

    Args:
        inputs: (m, inputs), of earlier games.
        happened: (m,), their outcomes.
        queries: (n, inputs).
        inverse_penalty: see C of scikit-learn; infinite: none.
    """
    if happened.all() or not happened.any():  # with few games, all outcomes may be the same
        return np.full(len(queries), np.clip(float(happened[0]), SURE, 1 - SURE))
    # Imported late: scikit-learn takes seconds to load, and only fits of the references need it.
    from scipy.linalg import LinAlgWarning
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=inverse_penalty, solver="newton-cholesky", tol=1e-8)
    with warnings.catch_warnings():
        # If few games are perfectly separable, the coefficients diverge.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", LinAlgWarning)
        model.fit(inputs, happened)
    probability: Floats = np.clip(model.predict_proba(queries)[:, 1], SURE, 1 - SURE)
    return probability
