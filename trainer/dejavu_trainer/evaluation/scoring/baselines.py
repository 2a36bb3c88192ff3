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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from dejavu_feed.pattern import REGULATION_MINUTES
from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, THRESHOLDS, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.distribution import EDGES, LatticeDistribution, from_cumulative
from dejavu_models.uncertainty.lead_groups import UNSCALED, lead_groups
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.scoring.lattice_scores import ALL_CASES, whole_number_scores
from dejavu_trainer.evaluation.scoring.residuals import MIN_CELL, ResidualDistribution, held, min_cell_size
from dejavu_trainer.evaluation.table import ALPHAS, LEVELS, Columns
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


@dataclass(frozen=True)
class LinearReference:
    """One linear model a minute on lead and expected margin, fitted on earlier games, and its forecasts of others.

    Attributes:
        past: the earlier games.
        games: n games.
        points: (n, 47 minutes, 2 horizons), point forecasts of `games`.
        of_past: the same of `past`, by the models.
        out_of_season: the same, of each season by models of the others.
    """

    past: Games
    games: Games
    points: Floats
    of_past: Floats
    out_of_season: Floats

    @classmethod
    def fit(cls, past: RatedGames, rated: RatedGames) -> LinearReference:
        """Fit the models on one or more games with finite margins, and forecast n games with finite margins."""
        models, known = fit_linear(*past), MarginSource.KNOWN
        out_of_season = out_of_season_points(past, {known: past.margins}, curved=False)[known]
        return cls(past.games, rated.games, linear_points(models, rated), linear_points(models, past), out_of_season)

    def linear(self, cases: Sequence[int] = ALL_CASES) -> Columns:
        """Score the points with the distribution of their out-of-season residuals, (n, cases)."""
        scales = lead_scales(self.past, self.past.outcomes[:, None, :] - self.of_past)
        # With all games as the minimum, there is one cell, except in the fourth quarter (`residuals.min_cell_size`).
        past, tested = (self.out_of_season, self.past), (self.points, self.games)
        return _residual_forecasts(past, tested, scales, len(self.past), cases)

    def normal(self, cases: Sequence[int] = ALL_CASES) -> Columns:
        """Score the points with a normal distribution on whole numbers, (n, cases).

        Its spread is that of the newest seasons by size of lead.
        """
        newest = np.isin(self.past.season, np.unique(self.past.season)[-NEWEST_SEASONS:])
        recent = self.past.select(newest)
        spreads = lead_scales(recent, recent.outcomes[:, None, :] - self.out_of_season[newest])

        def forecast(index: int, minute: int) -> tuple[Floats, LatticeDistribution]:
            from scipy import special  # imported late: it takes a second

            center = self.points[:, minute - 1, index]
            spread = spreads[index, minute, lead_groups(self.games.levels[:, minute - 1])]
            below = special.ndtr((EDGES - center[:, None]) / spread[:, None])
            return center, from_cumulative(below, ties=HORIZONS[index] is Horizon.HALFTIME)

        return whole_number_scores(forecast, self.games.outcomes, cases=cases)


def references(past: RatedGames, rated: RatedGames, cases: Sequence[int] = ALL_CASES) -> dict[str, Columns]:
    """Score the references that know the lead and an expected margin, fitted on all earlier games, (n, cases).

    Args:
        past: the earlier games, at least one, with finite margins.
        rated: n games, with finite margins.
        cases: indices in CASES.
    """
    fitted = LinearReference.fit(past, rated)
    probability = logistic_probabilities(past, rated, cases).astype(np.float32)
    return {"linear": fitted.linear(cases), "normal": fitted.normal(cases), "logistic": {"probability": probability}}


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
        _logistic(_inputs(past, minute), happened[:, index], _inputs(rated, minute))
        for index, minute in (CASES[case] for case in cases)
    ]
    return np.stack(found, axis=1)


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


def diffusion(past: RatedGames, rated: RatedGames) -> Columns:
    """Score games as a Brownian motion with drift, (n, cases).

    The drift is the expected margin; the volatility is the same in all games and minutes (Stern, A Brownian motion
    model for the progress of sports scores, 1994).

    Args:
        past: earlier games that the volatility is fitted on, at least one, with finite margins.
        rated: n games, with finite margins.
    """
    from scipy import special  # imported late: it takes a second

    indices = [index for index, _ in CASES]
    left = np.array([HORIZONS[index].minutes - minute for index, minute in CASES]) / REGULATION_MINUTES
    squares = np.square(past.games.outcomes[:, indices] - _means(past, left)) / left
    means, deviations = _means(rated, left), np.sqrt(squares.mean() * left)
    outcomes = rated.games.outcomes[:, indices]
    thresholds = np.array([THRESHOLDS[HORIZONS[index]] for index in indices])
    score = (outcomes - means) / deviations
    pit, density = special.ndtr(score), np.exp(-np.square(score) / 2) / np.sqrt(2 * np.pi)
    result: Columns = {
        "probability": np.clip(special.ndtr((means - thresholds) / deviations), SURE, 1 - SURE),
        "point": means,
        # Gneiting & Raftery 2007, equation 5.
        "crps": deviations * (score * (2 * pit - 1) + 2 * density - 1 / np.sqrt(np.pi)),
        "pit": pit,
    }
    for level, alpha in zip(LEVELS, ALPHAS, strict=True):
        tail = deviations * special.ndtri(alpha / 2)
        result |= {f"lower_{level}": means + tail, f"upper_{level}": means - tail}
    return held(result, outcomes)


def _means(rated: RatedGames, left: Floats) -> Floats:
    leads = rated.games.levels[:, [minute - 1 for _, minute in CASES]]
    means: Floats = leads + rated.margins[:, None] * left
    return means
