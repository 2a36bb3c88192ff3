"""Fits tables of distributions on whole numbers: scales, shapes, and joint win probability; see `MarginModel`.

Scales of residuals are logarithms that are linear in some terms. Shapes of standardised residuals depend on the size of
the lead late in a game. Both are fitted for every horizon and minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, ROWS, Horizon
from dejavu_models.uncertainty.lattice.margin_model import (
    CELLS_FROM,
    CENTERS,
    LATE,
    PACE_TERMS,
    SHIFT_TERMS,
    WIN_TERMS,
    LiveColumns,
    LiveKind,
    MarginModel,
    pace_of,
    scale_terms,
    shift_terms,
    win_terms,
)
from dejavu_models.uncertainty.lattice.shapes import SHAPE_LEVELS, UNRANKED, weighted_quantiles

POWER: Final = 1.5
"""Power of the residuals to which scales are fitted: less sensitive to the largest ones than 2."""

MIN_SCALE: Final = 0.1
"""Lower bound of a scale, in points; avoids division by near-zero spreads in small data sets."""

SMOOTHING_MINUTES: Final = 3.0
"""Width of the kernel that smooths the slopes of scales over minutes."""


def fit_scales(terms: Sequence[Floats], residuals: Floats, late: int) -> Floats:
    """Fit the coefficients of the logarithms of the scales; their slopes are smoothed over minutes.

    Args:
        terms: by case, (n, k); the first is 1. Terms that are 0 in all games get the coefficient 0.
        residuals: (n, cases), in points.
        late: minute from which the final has terms of its own: its slopes are smoothed separately.

    Returns:
        (cases, k).
    """
    result = np.zeros((len(CASES), terms[0].shape[1]))
    for row in range(len(CASES)):
        start = np.zeros(terms[row].shape[1])
        start[0] = np.log(max(residuals[:, row].std(), MIN_SCALE))
        result[row] = _fit_scale(terms[row], residuals[:, row], start, np.flatnonzero(terms[row].any(axis=0)))
    for group in _smoothed_together(late):
        slopes = _smoothed(result[group, 1:])
        for row, of_row in zip(group, slopes, strict=True):
            result[row, 1:] = of_row
            result[row] = _fit_scale(terms[row], residuals[:, row], result[row], np.array([0]))
    return result


def standardized(terms: Sequence[Floats], residuals: Floats, scales: Floats) -> Floats:
    """Return residuals over their scales, (n, cases); the arguments are those and the result of `fit_scales`."""
    return np.stack([residuals[:, row] / np.exp(terms[row] @ scales[row]) for row in range(len(CASES))], axis=1)


def _fit_scale(terms: Floats, residuals: Floats, start: Floats, free: NDArray[np.intp]) -> Floats:
    """Fit the logarithm of the scale by Newton's method.

    Minimizes Σ log σ + |r/σ|^POWER / POWER, the negative log-likelihood of a generalised normal distribution of that
    power. Only the coefficients `free` are changed.
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


def _smoothed_together(late: int) -> list[list[int]]:
    """Return the rows whose slopes are smoothed together: by horizon, those of late minutes separately."""
    groups: dict[tuple[Horizon, bool], list[int]] = {}
    for (horizon, minute), row in ROWS.items():
        groups.setdefault((horizon, horizon is Horizon.FINAL and minute >= late), []).append(row)
    return list(groups.values())


def _smoothed(slopes: Floats) -> Floats:
    """Smooth (minutes, k) over minutes: local-linear with a Gaussian kernel (Fan 1992)."""
    minutes, result = np.arange(len(slopes)), np.empty_like(slopes)
    for minute in minutes:
        weights = np.exp(-((minutes - minute) ** 2) / (2 * SMOOTHING_MINUTES**2))[:, None]
        inputs = np.stack([np.ones(len(minutes)), minutes - minute], axis=1)
        result[minute] = np.linalg.solve((inputs * weights).T @ inputs, (inputs * weights).T @ slopes)[0]
    return result


NEIGHBOUR_MINUTES: Final = 0.6
"""Width of the kernel that pools the residuals of a minute with those of the minutes before and after it."""

_NEGLIGIBLE: Final = 1e-4


class LateShapes(NamedTuple):
    """Dependence of the shapes of the final on the size of the lead.

    Attributes:
        first: minute from which the shapes depend on it.
        centers: (centers,), sizes of the lead, in points.
        widths: of the kernels around them, in points.
        mirrored: whether residuals are positive towards the home team, so that each game also counts with home and away
            exchanged.
    """

    first: int
    centers: Floats
    widths: tuple[float, ...]
    mirrored: bool


def fit_shapes(residuals: Floats, leads: Floats, late: LateShapes) -> tuple[Floats, Floats]:
    """Return the quantiles of residuals.

    Args:
        residuals: (n, cases), standardised.
        leads: (n, 47), differentials after minutes 1 to 47, in points.
        late: shapes of the final, late in a game.

    Returns:
        (cases, 107) of all games, and (late minutes, centers, 107) by the size of the lead.
    """
    shapes = np.empty((len(CASES), len(SHAPE_LEVELS)))
    late_shapes = np.empty((MAX_SLOTS + 1 - late.first, len(late.centers), len(SHAPE_LEVELS)))
    for (horizon, minute), row in ROWS.items():
        near = [(ROWS[horizon, each], each) for each in (minute - 1, minute, minute + 1) if (horizon, each) in ROWS]
        pooled = np.concatenate([residuals[:, other] for other, _ in near])
        weights = np.concatenate(
            [np.full(len(leads), np.exp(-((each - minute) ** 2) / (2 * NEIGHBOUR_MINUTES**2))) for _, each in near]
        )
        shapes[row] = weighted_quantiles(pooled, weights)
        if horizon is not Horizon.FINAL or minute < late.first:
            continue
        lead = np.concatenate([leads[:, each - 1] for _, each in near])
        if late.mirrored:
            pooled, lead, weights = np.append(pooled, -pooled), np.append(lead, -lead), np.tile(weights, 2)
        else:
            lead = np.abs(lead)
        for column, (center, width) in enumerate(zip(late.centers, late.widths, strict=True)):
            nearness = weights * np.exp(-((lead - center) ** 2) / (2 * width**2))
            counts = nearness > _NEGLIGIBLE
            late_shapes[minute - late.first, column] = weighted_quantiles(pooled[counts], nearness[counts])
    return shapes, late_shapes


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
            shift[row] = least_squares(shift_terms(live), residuals[:, row])
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


def least_squares(inputs: Floats, values: Floats) -> Floats:
    """Return the least-squares coefficients; those of inputs that are 0 in all games are 0."""
    return np.asarray(np.linalg.lstsq(inputs, values)[0], dtype=np.float64)


def _fit_pace(totals: Floats, live: LiveColumns) -> Floats:
    """Fit the coefficients of the points still to come, from the totals at the horizon, (n,); see `pace_of`."""
    inputs = np.stack([np.ones(len(totals)), live.total_points], axis=1)
    coefficients = least_squares(inputs, totals - live.total_points)
    return np.append(coefficients, np.log(np.maximum(inputs @ coefficients, 1.0).mean()))


def _fit_win(games: MarginGames, pace: Floats) -> Floats:
    """Fit one logistic regression on all minutes, with a small ridge, by Newton's method."""
    won = games.outcomes[:, HORIZONS.index(Horizon.FINAL)] > 0
    terms = []
    for minute in range(1, MAX_SLOTS + 1):
        live = games.live_at(minute)
        row = ROWS[Horizon.FINAL, minute]
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
