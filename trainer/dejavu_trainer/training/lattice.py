"""Fits the distributions on whole numbers: scales, shapes, and the joint win probability; see `MarginModel`."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, Horizon
from dejavu_models.uncertainty.lattice.inputs import (
    LATE,
    PACE_TERMS,
    SCALE_TERMS,
    SHIFT_TERMS,
    WIN_TERMS,
    LiveInputs,
    pace_of,
    scale_terms,
    shift_terms,
    win_terms,
)
from dejavu_models.uncertainty.lattice.margin_model import CELLS_FROM, CENTERS, LATE_MINUTES, ROWS, MarginModel
from dejavu_models.uncertainty.lattice.shapes import SHAPE_LEVELS, weighted_quantiles
from dejavu_trainer.training.linear import MIN_SCALE

POWER: Final = 1.5
"""Power of the residuals to which scales are fitted: less sensitive to the largest ones than 2."""

SMOOTHING_MINUTES: Final = 3.0
"""Width of the kernel that smooths the slopes of scales over minutes."""

NEIGHBOUR_MINUTES: Final = 0.6
"""Width of the kernel that pools the residuals of a minute with those of the minutes before and after it."""

CENTER_WIDTHS: Final = (2.0, 2.5, 3.0, 4.0, 5.0, 7.0)
"""Widths of the kernels around CENTERS, in points of lead."""

RIDGE: Final = 0.01
_NEGLIGIBLE: Final = 1e-4


class MarginGames(NamedTuple):
    """n games to fit on.

    Attributes:
        leads: (n, 47), differentials after minutes 1 to 47, in points.
        outcomes: (n, 2), differentials by horizon, in points.
        margins: (n,), expected final differentials before tip-off, in points; 0 if unknown.
        residuals: (n, cases), outcome less point forecast, in points, by models that have not seen the game's season.
        live: live inputs with columns by minute, (n, 47) each; None: do without.
        totals: (n, 2), points of both teams by horizon; required with live inputs.
    """

    leads: Floats
    outcomes: Floats
    margins: Floats
    residuals: Floats
    live: LiveInputs | None = None
    totals: Floats | None = None

    def select(self, games: NDArray[np.bool_]) -> MarginGames:
        """Returns some of the games, without live inputs."""
        return MarginGames(self.leads[games], self.outcomes[games], self.margins[games], self.residuals[games])

    def live_at(self, minute: int) -> LiveInputs | None:
        """Returns the live inputs after a minute, (n,) each."""
        return None if self.live is None else LiveInputs(*(each[:, minute - 1] for each in self.live))


def fit_margin_model(games: MarginGames) -> MarginModel:
    """Fits the tables of one kind of request.

    Args:
        games: the games before those that are to be forecast; at least some hundreds.
    """
    shift = np.zeros((len(CASES), SHIFT_TERMS))
    pace = np.zeros((len(CASES), PACE_TERMS))
    scale = np.zeros((len(CASES), SCALE_TERMS))
    terms: list[Floats] = []
    residuals = games.residuals.copy()
    for row, (index, minute) in enumerate(CASES):
        live, leads = games.live_at(minute), games.leads[:, minute - 1]
        if live is not None and games.totals is not None:
            pace[row] = _fit_pace(games.totals[:, index], live)
            shift[row] = _least_squares(shift_terms(live), residuals[:, row])
            residuals[:, row] -= shift_terms(live) @ shift[row]
        terms.append(scale_terms(HORIZONS[index], minute, leads, games.margins, _paces(pace[row], live, len(leads))))
        start = np.zeros(SCALE_TERMS)
        start[0] = np.log(max(residuals[:, row].std(), MIN_SCALE))
        scale[row] = _fit_scale(terms[row], residuals[:, row], start, np.flatnonzero(terms[row].any(axis=0)))
    for group in _smoothed_together():
        slopes = _smoothed(scale[group, 1:])
        for row, of_row in zip(group, slopes, strict=True):
            scale[row, 1:] = of_row
            scale[row] = _fit_scale(terms[row], residuals[:, row], scale[row], np.array([0]))
    standardized = np.stack([residuals[:, row] / np.exp(terms[row] @ scale[row]) for row in range(len(CASES))], axis=1)
    shapes, late_shapes = _fit_shapes(standardized, games.leads)
    return MarginModel(
        live=games.live is not None,
        shift=shift,
        pace=pace,
        scale=scale,
        shapes=shapes,
        late_shapes=late_shapes,
        win=_fit_win(games, pace),
        games=len(games.leads),
    )


def _paces(coefficients: Floats, live: LiveInputs | None, games: int) -> Floats:
    return np.zeros(games) if live is None else pace_of(coefficients, live)


def _least_squares(inputs: Floats, values: Floats) -> Floats:
    return np.asarray(np.linalg.lstsq(inputs, values)[0], dtype=np.float64)


def _fit_pace(totals: Floats, live: LiveInputs) -> Floats:
    """Fits the points still to come until totals, (n,); see `pace_of`."""
    inputs = np.stack([np.ones(len(totals)), live.points], axis=1)
    coefficients = _least_squares(inputs, totals - live.points)
    return np.append(coefficients, np.log(np.maximum(inputs @ coefficients, 1.0).mean()))


def _fit_scale(terms: Floats, residuals: Floats, start: Floats, free: NDArray[np.intp]) -> Floats:
    """Fits the logarithm of the scale by Newton's method.

    Minimizes Σ log σ + |r/σ|^POWER / POWER, the likelihood of a generalised normal distribution of that power; the
    other coefficients stay.
    """
    sizes, inputs, result = np.abs(residuals) ** POWER, terms[:, free], start.copy()
    gram = inputs.T @ inputs
    for _ in range(30):
        excess = sizes / np.exp(POWER * (terms @ result)) - 1
        step = np.linalg.solve(gram, inputs.T @ excess) / POWER
        result[free] += np.clip(step, -0.5, 0.5)
        if np.abs(step).max() < 1e-6:
            break
    return result


def _smoothed_together() -> list[list[int]]:
    """Returns the rows whose slopes are smoothed together: by horizon, those of LATE minutes apart."""
    groups: dict[tuple[int, bool], list[int]] = {}
    for row, (index, minute) in enumerate(CASES):
        late = HORIZONS[index] is Horizon.FINAL and minute >= LATE
        groups.setdefault((index, late), []).append(row)
    return list(groups.values())


def _smoothed(slopes: Floats) -> Floats:
    """Smooths (minutes, k) over minutes: local-linear with a Gaussian kernel (Fan 1992)."""
    minutes, result = np.arange(len(slopes)), np.empty_like(slopes)
    for minute in minutes:
        weights = np.exp(-((minutes - minute) ** 2) / (2 * SMOOTHING_MINUTES**2))[:, None]
        inputs = np.stack([np.ones(len(minutes)), minutes - minute], axis=1)
        result[minute] = np.linalg.solve((inputs * weights).T @ inputs, (inputs * weights).T @ slopes)[0]
    return result


def _fit_shapes(residuals: Floats, leads: Floats) -> tuple[Floats, Floats]:
    shapes = np.empty((len(CASES), len(SHAPE_LEVELS)))
    late_shapes = np.empty((len(LATE_MINUTES), len(CENTERS), len(SHAPE_LEVELS)))
    for row, (index, minute) in enumerate(CASES):
        near = [(ROWS[index, each], each) for each in (minute - 1, minute, minute + 1) if (index, each) in ROWS]
        pooled = np.concatenate([residuals[:, other] for other, _ in near])
        weights = np.concatenate(
            [np.full(len(leads), np.exp(-((each - minute) ** 2) / (2 * NEIGHBOUR_MINUTES**2))) for _, each in near]
        )
        shapes[row] = weighted_quantiles(pooled, weights)
        if HORIZONS[index] is not Horizon.FINAL or minute < CELLS_FROM:
            continue
        lead = np.concatenate([leads[:, each - 1] for _, each in near])
        # Home and away teams lose leads in the same way.
        both, leads_of_both, weights_of_both = np.append(pooled, -pooled), np.append(lead, -lead), np.tile(weights, 2)
        for index_of_center, (center, width) in enumerate(zip(CENTERS, CENTER_WIDTHS, strict=True)):
            nearness = weights_of_both * np.exp(-((leads_of_both - center) ** 2) / (2 * width**2))
            counts = nearness > _NEGLIGIBLE
            late_shapes[minute - CELLS_FROM, index_of_center] = weighted_quantiles(both[counts], nearness[counts])
    return shapes, late_shapes


def _fit_win(games: MarginGames, pace: Floats) -> Floats:
    """Fits one logistic regression on all minutes, with a small ridge, by Newton's method."""
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
