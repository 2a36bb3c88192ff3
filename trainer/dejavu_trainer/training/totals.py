"""Fits the totals of a bundle: the ratings of totals, and the tables of every source; see `TotalModel`."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.components.component import Advance
from dejavu_models.ratings import TotalFilter
from dejavu_models.totals import CENTERS, LATE, POINT_TERMS, TotalInputs, TotalModel, Totals, point_terms, scale_terms
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, Horizon, MarginSource
from dejavu_trainer.data.games import Games
from dejavu_trainer.training.lattice import LateShapes, fit_scales, fit_shapes, least_squares, standardized
from dejavu_trainer.training.linear import season_parts
from dejavu_trainer.training.ratings import carried, fit_settings, frozen, totals_terms

LATE_SHAPES: Final = LateShapes(LATE, CENTERS, (2.5, 3.0, 4.0, 6.0), mirrored=False)

MIN_GAMES: Final = 1000
"""Minimum number of games with total points for forecasts of totals."""


class TotalGames(NamedTuple):
    """n games with total points in all minutes.

    Attributes:
        season: (n,), as the year in which it ends, ascending.
        date: (n,), local dates, ascending.
        points: (n, 47), points of both teams after minutes 1 to 47.
        leads: (n, 47), differentials after these minutes, in points.
        outcomes: (n, 2), points of both teams by horizon.
        expected: (n,), expected final totals before tip-off, in points; 0 if unknown.
    """

    season: NDArray[np.int16]
    date: NDArray[np.datetime64]
    points: Floats
    leads: Floats
    outcomes: Floats
    expected: Floats

    def at(self, minute: int) -> TotalInputs:
        """Return the live inputs after a minute."""
        return TotalInputs(self.points[:, minute - 1], self.leads[:, minute - 1], self.expected)


def have_points(games: Games) -> NDArray[np.bool_]:
    """Return which games have total points in all minutes and at the end, (n,)."""
    return (games.totals >= 0).all(axis=1) & (games.final_total >= 0)


def total_games(games: Games, expected: Floats) -> TotalGames:
    """Return games that all have total points, with totals expected before tip-off, (n,) in points; NaN if unknown."""
    halftime = games.totals[:, Horizon.HALFTIME.minutes - 1]
    return TotalGames(
        games.season,
        games.date,
        games.totals[:, :MAX_SLOTS].astype(np.float64),
        games.levels,
        np.stack([halftime, games.final_total], axis=1).astype(np.float64),
        np.nan_to_num(expected),
    )


def fit_totals(games: Games, steps: int, advance: Advance) -> Totals | None:
    """Fit ratings and tables of totals.

    Args:
        games: games, from the first of each season on.
        steps: likelihood evaluations in the search for the settings of the ratings.
        advance: called with the number of evaluations done, `steps` in total.

    Returns:
        The totals with ratings after the last of the games, rounded as they are stored in a bundle; None if fewer than
        MIN_GAMES have total points.
    """
    known = have_points(games)
    if known.sum() < MIN_GAMES:
        advance(steps)
        return None
    start = TotalFilter.start()
    terms, with_points = totals_terms(games), games.select(known)
    of_known = [terms[game] for game in np.flatnonzero(known)]
    settings = fit_settings(start, with_points, with_points.final_total.astype(np.float64), of_known, steps, advance)
    start = replace(start, settings=settings)
    expected, after = carry_totals(start, games)
    by_source = {
        MarginSource.UNKNOWN: np.full(len(games), np.nan),
        MarginSource.KNOWN: expected,
        MarginSource.RATED: _frozen_before_each_season(start, games, expected),
    }
    models = {
        source: fit_total_model(total_games(with_points, of_source[known])) for source, of_source in by_source.items()
    }
    lined = known & np.isfinite(games.total_line)
    if lined.sum() >= MIN_GAMES:
        of_line = total_games(games.select(lined), games.total_line[lined].astype(np.float64))
        models[MarginSource.LINE] = fit_total_model(of_line)
    return Totals.from_bytes(Totals(models, after).to_bytes())  # as a server reads it


def carry_totals(start: TotalFilter, games: Games) -> tuple[Floats, TotalFilter]:
    """Update ratings of totals game by game; games without total points change nothing.

    Returns:
        The totals expected before each game, (n,) in points, and the state after the last one.
    """
    known, terms = have_points(games), totals_terms(games)
    rows = np.flatnonzero(known)
    result = np.full(len(games), np.nan)
    with_points = games.select(known)
    outcomes = with_points.final_total.astype(np.float64)
    result[known], _, after = carried(start, with_points, outcomes, [terms[row] for row in rows])
    return result, after


def frozen_totals(state: TotalFilter, games: Games) -> Floats:
    """Return the expected totals of games of one season, (n,) in points, with the ratings before it."""
    return frozen(state, games, totals_terms(games))


def _frozen_before_each_season(start: TotalFilter, games: Games, carried_totals: Floats) -> Floats:
    """Return expected totals with ratings frozen before each season, (n,); the first season keeps its carried ones."""
    result, state = carried_totals.copy(), start
    for season in np.unique(games.season).tolist():
        which = games.season == season
        if state.date is not None:
            result[which] = frozen_totals(state, games.select(which))
        _, state = carry_totals(state, games.select(which))
    return result


def fit_total_model(games: TotalGames) -> TotalModel:
    """Fit the tables of one source of the expected total, from residuals of unseen seasons.

    Args:
        games: the games before those to be forecast.
    """
    point, log_mean = np.zeros((len(CASES), POINT_TERMS)), np.zeros(len(CASES))
    residuals, terms = np.empty((len(games.season), len(CASES))), list[Floats]()
    for row, (index, minute) in enumerate(CASES):
        inputs = games.at(minute)
        loads, to_come = point_terms(HORIZONS[index], inputs), games.outcomes[:, index] - inputs.points
        point[row] = least_squares(loads, to_come)
        log_mean[row] = np.log(max(float(np.maximum(loads @ point[row], 1.0).mean()), 1.0))
        predicted = np.empty(len(to_come))
        for which in season_parts(games.season):
            # a single game has no other games
            others = ~which if not which.all() else which
            predicted[which] = loads[which] @ least_squares(loads[others], to_come[others])
        residuals[:, row] = to_come - predicted
        terms.append(scale_terms(HORIZONS[index], minute, inputs, predicted, float(log_mean[row])))
    scale = fit_scales(terms, residuals, LATE)
    shapes, late_shapes = fit_shapes(standardized(terms, residuals, scale), games.leads, LATE_SHAPES)
    return TotalModel(point, log_mean, scale, shapes, late_shapes, games=len(games.season))
