"""Fits tables of distributions on whole numbers: scales, shapes, and joint win probability; see `MarginModel`."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, Horizon
from dejavu_models.uncertainty.lattice.inputs import (
    LATE,
    PACE_TERMS,
    SHIFT_TERMS,
    WIN_TERMS,
    LiveColumns,
    LiveKind,
    pace_of,
    scale_terms,
    shift_terms,
    win_terms,
)
from dejavu_models.uncertainty.lattice.margin_model import CELLS_FROM, CENTERS, ROWS, MarginModel
from dejavu_models.uncertainty.lattice.ranks import UNRANKED
from dejavu_trainer.training.scales import fit_scales, standardized
from dejavu_trainer.training.shapes import LateShapes, fit_shapes

RIDGE: Final = 0.01

LATE_SHAPES: Final = LateShapes(CELLS_FROM, CENTERS, (2.0, 2.5, 3.0, 4.0, 5.0, 7.0), mirrored=True)
"""Mirrored, since home and away teams lose leads in the same way."""


class MarginGames(NamedTuple):
    """n games to fit on.

    Attributes:
        leads: (n, 47), differentials after minutes 1 to 47, in points.
        outcomes: (n, 2), differentials by horizon, in points.
        margins: (n,), expected final differentials before tip-off, in points; 0 if unknown.
        residuals: (n, cases), outcome − point forecast, in points, by models that have not seen the game's season.
        live: live inputs with columns by minute, (n, 47) each; None: fit tables without them.
        totals: (n, 2), points of both teams by horizon; required with live inputs.
    """

    leads: Floats
    outcomes: Floats
    margins: Floats
    residuals: Floats
    live: LiveColumns | None = None
    totals: Floats | None = None

    def select(self, games: NDArray[np.bool_]) -> MarginGames:
        """Return some of the games, without live inputs."""
        return MarginGames(self.leads[games], self.outcomes[games], self.margins[games], self.residuals[games])

    def live_at(self, minute: int) -> LiveColumns | None:
        """Return the live inputs after a minute, (n,) each."""
        return None if self.live is None else self.live[:, minute - 1]


def fit_margin_model(games: MarginGames) -> MarginModel:
    """Fit the tables of one kind of request, without ranks.

    Args:
        games: the games before those to be forecast; at least some hundreds.
    """
    shift = np.zeros((len(CASES), SHIFT_TERMS))
    pace = np.zeros((len(CASES), PACE_TERMS))
    terms: list[Floats] = []
    residuals = games.residuals.copy()
    for row, (index, minute) in enumerate(CASES):
        live, leads = games.live_at(minute), games.leads[:, minute - 1]
        if live is not None and games.totals is not None:
            pace[row] = _fit_pace(games.totals[:, index], live)
            shift[row] = _least_squares(shift_terms(live), residuals[:, row])
            residuals[:, row] -= shift_terms(live) @ shift[row]
        terms.append(scale_terms(HORIZONS[index], minute, leads, games.margins, _paces(pace[row], live, len(leads))))
    scale = fit_scales(terms, residuals, LATE)
    shapes, late_shapes = fit_shapes(standardized(terms, residuals, scale), games.leads, LATE_SHAPES)
    return MarginModel(
        kind=LiveKind.NONE if games.live is None else games.live.kind,
        shift=shift,
        pace=pace,
        scale=scale,
        shapes=shapes,
        late_shapes=late_shapes,
        win=_fit_win(games, pace),
        ranks=UNRANKED,
        games=len(games.leads),
    )


def _paces(coefficients: Floats, live: LiveColumns | None, games: int) -> Floats:
    return np.zeros(games) if live is None else pace_of(coefficients, live)


def _least_squares(inputs: Floats, values: Floats) -> Floats:
    return np.asarray(np.linalg.lstsq(inputs, values)[0], dtype=np.float64)


def _fit_pace(totals: Floats, live: LiveColumns) -> Floats:
    """Fit the coefficients of the points still to come, from the totals at the horizon, (n,); see `pace_of`."""
    inputs = np.stack([np.ones(len(totals)), live.total_points], axis=1)
    coefficients = _least_squares(inputs, totals - live.total_points)
    return np.append(coefficients, np.log(np.maximum(inputs @ coefficients, 1.0).mean()))


def _fit_win(games: MarginGames, pace: Floats) -> Floats:
    """Fit one logistic regression on all minutes, with a small ridge, by Newton's method."""
    won = games.outcomes[:, HORIZONS.index(Horizon.FINAL)] > 0
    terms = []
    for minute in range(1, MAX_SLOTS + 1):
        live = games.live_at(minute)
        row = ROWS[HORIZONS.index(Horizon.FINAL), minute]
        paces = _paces(pace[row], live, len(won))
        terms.append(win_terms(minute, games.leads[:, minute - 1], games.margins, paces, live))
    result = np.zeros(WIN_TERMS)
    for _ in range(20):
        hessian, gradient = RIDGE * np.eye(WIN_TERMS), -RIDGE * result
        for inputs in terms:
            probability = 1 / (1 + np.exp(-(inputs @ result)))
            hessian += (inputs * (probability * (1 - probability))[:, None]).T @ inputs
            gradient += inputs.T @ (won - probability)
        step = np.linalg.solve(hessian, gradient)
        result += step
        if np.abs(step).max() < 1e-5:
            break
    return result
