"""Scores of forecasts on whole numbers, of differentials and of totals."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, HORIZONS
from dejavu_models.uncertainty.adaptive import QUARTER_MIDPOINTS, SeasonScale
from dejavu_models.uncertainty.lattice.distribution import LatticeDistribution, WholeNumberDistribution
from dejavu_models.uncertainty.normal_scores import MAX_SCORE
from dejavu_trainer.evaluation.scoring.forecasts import ALPHAS, Forecasts
from dejavu_trainer.training.served_tables import ServedTables


class WholeNumberScores:
    """Scores of the forecasts of n games, case by case.

    An interval with whole ends covers more than its level, by a part of the probability of its ends. Coverage is
    therefore computed from the randomised probability integral transform, which is uniform if the forecast is right
    (Czado, Gneiting & Held, Predictive model assessment for count data, 2009): an outcome at an end counts as covered
    with the share of its probability that the level needs. The random places are the same in every run.

    Args:
        games: n.
        seed: seed of the random places within whole numbers.

    Attributes:
        point, crps: (n, cases), in points.
        pit: (n, cases), randomised.
        lower, upper: (n, cases, alphas), ends of the intervals, whole numbers.
        held: (n, cases, alphas), whether the outcome counts as within.
    """

    def __init__(self, games: int, seed: int) -> None:
        shape = (games, len(CASES))
        self._places = np.random.default_rng(seed).uniform(-0.5, 0.5, shape)
        self.point, self.crps, self.pit = (np.empty(shape, dtype=np.float32) for _ in range(3))
        self.lower, self.upper = (np.empty((*shape, len(ALPHAS)), dtype=np.float32) for _ in range(2))
        self.held = np.empty((*shape, len(ALPHAS)), dtype=np.bool_)

    def score(self, column: int, point: Floats, made: WholeNumberDistribution, outcomes: Floats) -> None:
        """Score one case.

        Args:
            column: index of the case in CASES.
            point: (n,), point forecasts, in points.
            made: the distributions of the n games.
            outcomes: (n,), whole numbers.
        """
        self.point[:, column] = point
        self.crps[:, column] = made.crps(outcomes)
        transform = made.pit(outcomes, self._places[:, column])
        self.pit[:, column] = transform
        for number, alpha in enumerate(ALPHAS):
            self.lower[:, column, number], self.upper[:, column, number] = made.intervals(alpha)
            self.held[:, column, number] = (alpha / 2 < transform) & (transform <= 1 - alpha / 2)


SEED: Final = 18
"""Seed of the random places within whole numbers; see `WholeNumberScores`."""


def season_factors(points: Floats, tables: ServedTables, margins: Floats) -> Floats:
    """Return the factors of the scores before each game of a season, (n, 2) by horizon, from the days before.

    They are the factors of a server that starts with the season, from the forecasts at the middle of each quarter.

    Args:
        points: (n, 47 minutes, 2 horizons), point forecasts, in points.
        tables: the tables of the games, of one season and in order of date.
        margins: (n,), expected final differentials before tip-off, in points; NaN if unknown.
    """
    games = tables.games
    result = np.empty((len(games), len(HORIZONS)))
    for index, horizon in enumerate(HORIZONS):
        minutes = [minute for minute in QUARTER_MIDPOINTS if minute in horizon.forecast_minutes]
        made = (tables.distribution(points, margins, index, minute)[1] for minute in minutes)
        squares = np.mean([_squared_scores(each, games.outcomes[:, index]) for each in made], axis=0)
        result[:, index] = factors_of_days_before(squares, games.date)
    return result


def factors_of_days_before(squares: Floats, days: NDArray[Any]) -> Floats:
    """Return the factor of the scores before each of n games, (n,), from the games of the days before.

    Args:
        squares: (n,), squared scores of the games.
        days: (n,), their days, in any form that can be ordered.
    """
    state, result = SeasonScale(), np.empty(len(squares))
    for day in np.unique(days):
        of_day = np.flatnonzero(days == day)
        result[of_day] = state.factor
        for game in of_day:
            state = state.after(float(squares[game]))
    return result


def lattice_forecasts(
    points: Floats, tables: ServedTables, margins: Floats, factors: Floats | None = None
) -> Forecasts:
    """Score the forecasts of games.

    Args:
        points: (n, 47 minutes, 2 horizons), point forecasts, in points.
        tables: the tables of the games.
        margins: (n,), expected final differentials before tip-off, in points; NaN if unknown.
        factors: (n, 2), of the scores by horizon, see `season_factors`; 1 by default.
    """
    games = tables.games
    scores = WholeNumberScores(len(games), SEED)
    probability = np.empty((len(games), len(CASES)), dtype=np.float32)
    for column, (index, minute) in enumerate(CASES):
        center, made = tables.distribution(points, margins, index, minute)
        if factors is not None:
            made = _scaled(made, factors[:, index])
        probability[:, column] = made.home_leads
        scores.score(column, center, made, games.outcomes[:, index])
    return Forecasts(probability, scores.point, scores.lower, scores.upper, scores.crps, scores.pit, scores.held)


def _scaled(made: LatticeDistribution, factors: Floats) -> LatticeDistribution:
    """Return the distributions with all normal scores multiplied by factors, (n,)."""
    from scipy import special  # imported late: it takes a second

    below = special.ndtr(special.ndtri(np.clip(made.below, 0.0, 1.0)) / factors[:, None])
    below[:, -1] = 1.0
    return LatticeDistribution(np.diff(below, axis=1, prepend=0.0))


def _squared_scores(made: LatticeDistribution, outcomes: Floats) -> Floats:
    """Return the squared normal scores of outcomes at the middle of their probability, (n,)."""
    from scipy import special  # imported late: it takes a second

    scores = np.clip(special.ndtri(made.pit(outcomes)), -MAX_SCORE, MAX_SCORE)
    squares: Floats = np.square(scores)
    return squares
