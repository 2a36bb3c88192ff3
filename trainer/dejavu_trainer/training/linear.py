"""Fits the linear models on lead and expected margin by least squares, one for each horizon, minute and mode."""

from __future__ import annotations

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.point.linear import INTERCEPT, MARGIN_SLOPE, SLOPE, LinearModels
from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MAX_SLOTS, MarginSource
from dejavu_models.uncertainty.conformal import UNSCALED, lead_groups
from dejavu_trainer.data.games import Games

PRIOR_GAMES = 40
LEAST_SCALE = 0.1
"""In points: what hardly varies in little data must not be divided by next to nothing."""


def fit_linear(games: Games, margins: Floats) -> LinearModels:
    """The coefficients that leave the least squared error on these games.

    Where games do not tell coefficients apart (before tip-off every lead is 0), the smallest that fit are taken.

    Args:
        games: to fit on; at least one.
        margins: (n,), what was expected of each before it began, in points; finite.
    """
    coefficients = np.full((len(HORIZONS), MAX_SLOTS + 1, len(MARGIN_SOURCES), 3), np.nan)
    leads = leads_by_minute(games)
    outcomes = games.outcomes
    for minute in range(MAX_SLOTS + 1):
        lead = leads[:, minute]
        inputs = np.stack([np.ones(len(games)), lead, margins], axis=1)
        # One solution for both horizons: they share the inputs.
        increments = outcomes - lead[:, None]
        known = np.linalg.lstsq(inputs, increments)[0]
        unknown = np.linalg.lstsq(inputs[:, :MARGIN_SLOPE], increments)[0]
        for place, horizon in enumerate(HORIZONS):
            if minute <= horizon.last_slot:
                coefficients[place, minute, MarginSource.KNOWN] = known[:, place]
                coefficients[place, minute, MarginSource.UNKNOWN] = (
                    unknown[INTERCEPT, place],
                    unknown[SLOPE, place],
                    0.0,
                )
    linear = LinearModels(coefficients)
    return LinearModels(coefficients, _scales(games.levels, linear_residuals(linear, games, margins)))


def _scales(leads: Floats, residuals: Floats) -> Floats:
    """How far off the models are by minute, mode, horizon and group of leads; see `LinearModels.scales`.

    Groups of few games are drawn towards the whole, by as much as PRIOR_GAMES of it weigh. Before tip-off, where there
    is no lead, and for horizons that have passed it is 1.
    """
    squares = np.square(residuals)  # (n, 47 minutes, 2 modes, 2 horizons)
    whole = squares.mean(axis=0)
    groups = lead_groups(leads)
    scales = np.ones((len(HORIZONS), MAX_SLOTS + 1, len(MARGIN_SOURCES), len(UNSCALED)))
    for group in range(len(UNSCALED)):
        of_group = (groups == group)[:, :, None, None]
        counts = of_group.sum(axis=0)
        mean = ((squares * of_group).sum(axis=0) + PRIOR_GAMES * whole) / (counts + PRIOR_GAMES)
        scales[:, 1:, :, group] = np.sqrt(mean).transpose(2, 0, 1)
    for place, horizon in enumerate(HORIZONS):
        scales[place, horizon.last_slot + 1 :] = 1.0
    return np.maximum(scales, LEAST_SCALE)


def leads_by_minute(games: Games) -> Floats:
    """(n, 48), the lead after minutes 0 (tip-off) to 47, in points."""
    return np.concatenate([np.zeros((len(games), 1)), games.levels], axis=1)


def linear_residuals(linear: LinearModels, games: Games, margins: Floats) -> Floats:
    """What the linear models leave, in both modes.

    Args:
        linear: the models.
        games: any.
        margins: (n,), what was expected of each before it began, in points; finite.

    Returns:
        (n, 47 minutes, 2 modes, 2 horizons), in points, from minute 1 on; 0 for a horizon that has passed.
    """
    levels = games.levels
    increments = games.outcomes[:, None, :] - levels[:, :, None]
    by_mode = {MarginSource.KNOWN: margins, MarginSource.UNKNOWN: np.full_like(margins, np.nan)}
    left = [increments - linear.increments(slice(1, MAX_SLOTS + 1), levels, by_mode[mode]) for mode in MARGIN_SOURCES]
    return np.nan_to_num(np.stack(left, axis=2))
