"""Scores of forecasts on whole numbers, of differentials and of totals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, HORIZONS
from dejavu_models.uncertainty.adaptive import QUARTER_MIDPOINTS, SeasonScale
from dejavu_models.uncertainty.lattice.distribution import LatticeDistribution, WholeNumberDistribution
from dejavu_models.uncertainty.normal_scores import MAX_SCORE
from dejavu_trainer.evaluation.table import ALPHAS, LEVELS, Columns
from dejavu_trainer.training.served_tables import ServedTables

ALL_CASES: Final = range(len(CASES))
"""Indices of all cases."""

SEED: Final = 18
"""Seed of the random places within whole numbers; see `scored`."""


def scored(made: WholeNumberDistribution, outcomes: Floats, places: Floats) -> Columns:
    """Return the scores of the distributions of n outcomes, whole numbers, (n,) each.

    An interval with whole ends covers more than its level, by a part of the probability of its ends. Coverage is
    therefore computed from the randomised probability integral transform, which is uniform if the forecast is right
    (Czado, Gneiting & Held, Predictive model assessment for count data, 2009): an outcome at an end counts as covered
    with the share of its probability that the level needs.

    Args:
        made: the distributions.
        outcomes: (n,).
        places: (n,), random places within each whole number, in [−½, ½].
    """
    transform = made.pit(outcomes, places)
    result: Columns = {"crps": made.crps(outcomes), "pit": transform}
    if isinstance(made, LatticeDistribution):
        result["probability"] = made.home_leads
    for level, alpha in zip(LEVELS, ALPHAS, strict=True):
        result[f"lower_{level}"], result[f"upper_{level}"] = made.intervals(alpha)
        result[f"held_{level}"] = (alpha / 2 < transform) & (transform <= 1 - alpha / 2)
    return {name: each if each.dtype == np.bool_ else each.astype(np.float32) for name, each in result.items()}


def whole_number_scores(
    forecast: Callable[[int, int], tuple[Floats, WholeNumberDistribution]],
    outcomes: Floats,
    seed: int = SEED,
    *,
    cases: Sequence[int] = ALL_CASES,
) -> Columns:
    """Score forecasts of n games for some cases, (n, cases).

    Args:
        forecast: returns the point forecasts, (n,), and the distributions at a horizon, by its index, from a minute.
        outcomes: (n, 2), by horizon, whole numbers.
        seed: of the random places, which are the same in every run.
        cases: their indices in CASES.
    """
    places = np.random.default_rng(seed).uniform(-0.5, 0.5, (len(outcomes), len(CASES)))
    found = []
    for case in cases:
        index, minute = CASES[case]
        point, made = forecast(index, minute)
        of_case = scored(made, outcomes[:, index], places[:, case])
        found.append({"point": point.astype(np.float32), **of_case})
    return {name: np.stack([each[name] for each in found], axis=1) for name in found[0]}


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


def lattice_forecasts(points: Floats, tables: ServedTables, margins: Floats, factors: Floats | None = None) -> Columns:
    """Score the forecasts of games.

    Args:
        points: (n, 47 minutes, 2 horizons), point forecasts, in points.
        tables: the tables of the games.
        margins: (n,), expected final differentials before tip-off, in points; NaN if unknown.
        factors: (n, 2), of the scores by horizon, see `season_factors`; 1 by default.
    """

    def forecast(index: int, minute: int) -> tuple[Floats, LatticeDistribution]:
        center, made = tables.distribution(points, margins, index, minute)
        return center, made if factors is None else _scaled(made, factors[:, index])

    return whole_number_scores(forecast, tables.games.outcomes)


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
