"""Fits the linear models on lead and expected margin by least squares, one per horizon, minute and mode."""

from __future__ import annotations

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.point.linear import INTERCEPT, MARGIN_SLOPE, SLOPE, LinearModels
from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MAX_SLOTS, MarginSource
from dejavu_models.uncertainty.conformal_cells import UNSCALED, lead_groups
from dejavu_trainer.data.games import Games
from dejavu_trainer.training.ratings import margins_in_mode

PRIOR_GAMES = 40
MIN_SCALE = 0.1
"""Lower bound of a scale, in points; avoids division by near-zero spreads in small data sets."""


def fit_linear(games: Games, margins: Floats) -> LinearModels:
    """Fits the least-squares coefficients and the scales.

    If coefficients are not identified (before tip-off every lead is 0), the minimum-norm solution is used.

    Args:
        games: games to fit on; at least one.
        margins: (n,), expected margins before tip-off, in points; finite.
    """
    coefficients = np.full((len(HORIZONS), MAX_SLOTS + 1, len(MARGIN_SOURCES), 3), np.nan)
    leads = np.concatenate([np.zeros((len(games), 1)), games.levels], axis=1)  # after minutes 0 (tip-off) to 47
    outcomes = games.outcomes
    for minute in range(MAX_SLOTS + 1):
        lead = leads[:, minute]
        inputs = np.stack([np.ones(len(games)), lead, margins], axis=1)
        # Both horizons share the inputs: solve them together.
        increments = outcomes - lead[:, None]
        known = np.linalg.lstsq(inputs, increments)[0]
        unknown = np.linalg.lstsq(inputs[:, :MARGIN_SLOPE], increments)[0]
        for index, horizon in enumerate(HORIZONS):
            if minute <= horizon.last_slot:
                coefficients[index, minute, MarginSource.KNOWN] = known[:, index]
                coefficients[index, minute, MarginSource.UNKNOWN] = (
                    unknown[INTERCEPT, index],
                    unknown[SLOPE, index],
                    0.0,
                )
    linear = LinearModels(coefficients)
    return LinearModels(coefficients, _scales(games.levels, linear_residuals(linear, games, margins)))


def _scales(leads: Floats, residuals: Floats) -> Floats:
    """Computes the root mean square error by minute, mode, horizon and lead group; see `LinearModels.scales`.

    Groups are shrunk towards the mean over all leads with the weight of PRIOR_GAMES games. Before tip-off, where there
    is no lead, and for horizons that have passed, the scale is 1.
    """
    squares = np.square(residuals)  # (n, 47 minutes, 2 modes, 2 horizons)
    overall = squares.mean(axis=0)
    groups = lead_groups(leads)
    scales = np.ones((len(HORIZONS), MAX_SLOTS + 1, len(MARGIN_SOURCES), len(UNSCALED)))
    for group in range(len(UNSCALED)):
        of_group = (groups == group)[:, :, None, None]
        counts = of_group.sum(axis=0)
        mean = ((squares * of_group).sum(axis=0) + PRIOR_GAMES * overall) / (counts + PRIOR_GAMES)
        scales[:, 1:, :, group] = np.sqrt(mean).transpose(2, 0, 1)
    for index, horizon in enumerate(HORIZONS):
        scales[index, horizon.last_slot + 1 :] = 1.0
    return np.maximum(scales, MIN_SCALE)


def linear_residuals(linear: LinearModels, games: Games, margins: Floats) -> Floats:
    """Computes the residuals of the linear models, in both modes.

    Args:
        linear: the models.
        games: n games.
        margins: (n,), expected margins before tip-off, in points; finite.

    Returns:
        (n, 47 minutes, 2 modes, 2 horizons), in points, from minute 1 on; 0 for a horizon that has passed.
    """
    levels = games.levels
    increments = games.outcomes[:, None, :] - levels[:, :, None]
    residuals = [
        increments - linear.increments(slice(1, MAX_SLOTS + 1), levels, margins_in_mode(mode, margins))
        for mode in MARGIN_SOURCES
    ]
    return np.nan_to_num(np.stack(residuals, axis=2))
