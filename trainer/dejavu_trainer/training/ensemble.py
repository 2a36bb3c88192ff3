"""Fits the combination of the models: shrinkage of the neighbours' predictions, and the ensemble weights.

Both are fitted by least squares on games unseen by the trial models. The fitted weights are then compared with fixed
ones by CRPS on still later games; the better ones are selected for each horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dejavu_feed.pattern import QUARTER_MINUTES
from dejavu_models import metrics
from dejavu_models.arrays import Floats
from dejavu_models.point.ensemble import EnsembleWeights
from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MAX_SLOTS

FIXED_DEJAVU_WEIGHT = 0.4
"""Fixed weight of Dejavu in the ensemble; used unless the fitted weights are better."""

REACH = 8
"""Half-width of the window for estimating a minute's shrinkage, in minutes."""


@dataclass(frozen=True, slots=True)
class TrialPredictions:
    """Predictions of the trial models for n unseen games, and the targets, in points.

    Attributes:
        dejavu: (n, 47, 2 modes, 2 horizons), Dejavu's prediction of the linear models' residuals.
        lstm: (n, 47, 2 modes, 2 horizons), the LSTM's prediction of the same.
        target: (n, 47, 2 modes, 2 horizons), the residuals of the linear models.
    """

    dejavu: Floats
    lstm: Floats
    target: Floats


@dataclass(frozen=True, slots=True)
class WeightSelection:
    """Selected combination, and the basis of the selection.

    Attributes:
        combination: the weights for the bundle.
        fitted_crps, fixed_crps: (2,), CRPS with fitted and with fixed weights on the comparison games, in points: means
            over games, minutes and modes.
        takes_fitted: (2,), whether the fitted weight is better.
    """

    combination: EnsembleWeights
    fitted_crps: Floats
    fixed_crps: Floats
    takes_fitted: tuple[bool, ...]


def choose_weights(fitting: TrialPredictions, comparing: TrialPredictions) -> WeightSelection:
    """Fit the combination on some games and compare it with fixed weights on later ones."""
    shrinkage = fit_shrinkage(fitting.dejavu, fitting.target)
    by_minute = _by_minute(fit_shares(fitting, shrinkage))
    fixed = np.full_like(by_minute, FIXED_DEJAVU_WEIGHT)
    fitted_crps, fixed_crps = (_crps(fitting, comparing, shrinkage, weights) for weights in (by_minute, fixed))
    takes_fitted = fitted_crps < fixed_crps
    weights = np.where(takes_fitted[:, None], by_minute, fixed)
    return WeightSelection(EnsembleWeights(weights, shrinkage), fitted_crps, fixed_crps, tuple(takes_fitted.tolist()))


def fit_shrinkage(predicted: Floats, target: Floats) -> Floats:
    """Fit the factor in [0, 1] for the neighbours' predictions, for each horizon and minute.

    Least squares over the minutes within REACH, with triangular weights, since the games of one minute are too few to
    estimate it. The factor is shrunk to 0 in proportion to its sampling error (positive part of James & Stein,
    Estimation with quadratic loss, 1961), with the game as the unit.

    Args:
        predicted: (n, 47, 2 modes, 2 horizons), predictions of the neighbours, in points.
        target: (n, 47, 2 modes, 2 horizons), residuals of the linear models, in points.

    Returns:
        (2 horizons, 48); 0 for minute 0 and where a horizon has passed.
    """
    scale = np.square(_spreads(target))
    cross = (predicted * target).sum(axis=2) / scale  # (n, 47, 2)
    size = np.square(predicted).sum(axis=2) / scale
    result = np.zeros((len(HORIZONS), MAX_SLOTS + 1))
    for index, horizon in enumerate(HORIZONS):
        minutes = np.arange(horizon.last_slot)
        near = (1 - np.abs(minutes[:, None] - minutes) / (REACH + 1)).clip(min=0)
        by_game, sizes = (values[:, : horizon.last_slot, index] @ near for values in (cross, size))
        above, below = by_game.sum(axis=0), sizes.sum(axis=0)
        factor = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
        noise = np.square(by_game - factor * sizes).sum(axis=0)
        reliability = 1 - np.divide(noise, np.square(above), out=np.ones_like(above), where=above > 0)
        result[index, 1 : horizon.last_slot + 1] = factor.clip(0, 1) * reliability.clip(0, 1)
    return result


def fit_shares(trial: TrialPredictions, shrinkage: Floats) -> Floats:
    """Fit Dejavu's weight in the ensemble by least squares, in [0, 1], by horizon and quarter.

    Minutes and modes are weighted equally, whatever the spread of their residuals. The sums of squares of a quarter are
    pooled with those of an average quarter, since a single quarter has too little data.

    Args:
        trial: predictions and targets.
        shrinkage: (2, 48), factors of the neighbours' predictions.

    Returns:
        (2 horizons, 4 quarters); NaN where a horizon has passed.
    """
    scale = _spreads(trial.target)[None, :, None, :]
    difference = (_shrunk(trial.dejavu, shrinkage) - trial.lstm) / scale
    target = (trial.target - trial.lstm) / scale
    cross, size = ((difference * values).sum(axis=(0, 2)) for values in (target, difference))  # (47, 2)
    result = np.full((len(HORIZONS), 4), np.nan)
    for index, horizon in enumerate(HORIZONS):
        starts = np.arange(0, horizon.last_slot, QUARTER_MINUTES)
        above, below = (np.add.reduceat(sums[: horizon.last_slot, index], starts) for sums in (cross, size))
        above, below = above + above.mean(), below + below.mean()
        shares = np.divide(above, below, out=np.full_like(above, FIXED_DEJAVU_WEIGHT), where=below > 0)
        result[index, : len(starts)] = shares.clip(0, 1)
    return result


def _shrunk(predicted: Floats, shrinkage: Floats) -> Floats:
    return predicted * shrinkage.T[None, 1:, None, :]


def _spreads(target: Floats) -> Floats:
    """Return the root mean square of the targets, (47, 2), in points; never 0."""
    spreads: Floats = np.sqrt(np.square(target).mean(axis=(0, 2))).clip(min=1e-6)
    return spreads


def _by_minute(shares: Floats) -> Floats:
    """(2, 4) by quarter → (2, 48) by minute; unused minutes get the fixed weight."""
    result = np.full((len(HORIZONS), MAX_SLOTS + 1), FIXED_DEJAVU_WEIGHT)
    result[:, 1:] = np.repeat(shares, QUARTER_MINUTES, axis=1)[:, :MAX_SLOTS]
    return np.where(np.isnan(result), FIXED_DEJAVU_WEIGHT, result)


def _crps(fitting: TrialPredictions, comparing: TrialPredictions, shrinkage: Floats, weights: Floats) -> Floats:
    """Return the CRPS of the comparison games, (2,), with the residuals of the fitting games as distribution."""
    # The ensemble's error equals the error of its prediction of the residuals: the linear part cancels.
    past, new = (_combined(trial, shrinkage, weights) for trial in (fitting, comparing))
    result = np.empty(len(HORIZONS))
    for index, horizon in enumerate(HORIZONS):
        scores = [
            metrics.crps(new[cell], fitting.target[cell] - past[cell], comparing.target[cell]).mean()
            for minute in range(horizon.last_slot)
            for mode in MARGIN_SOURCES
            for cell in [(slice(None), minute, mode, index)]
        ]
        result[index] = np.mean(scores)
    return result


def _combined(trial: TrialPredictions, shrinkage: Floats, weights: Floats) -> Floats:
    share = weights.T[None, 1:, None, :]
    return share * _shrunk(trial.dejavu, shrinkage) + (1 - share) * trial.lstm
