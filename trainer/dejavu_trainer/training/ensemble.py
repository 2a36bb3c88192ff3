"""Fits how the models are combined: how far the neighbours are believed, and each model's share of the ensemble.

Both are least squares on games that the trial models did not see. The fitted shares are then held against fixed ones on
games that are later still, by CRPS; the better of the two is taken, for each horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dejavu_models import metrics
from dejavu_models.arrays import Floats
from dejavu_models.point.ensemble import EnsembleWeights
from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MAX_SLOTS

FIXED_DEJAVU_WEIGHT = 0.4
"""Dejavu's share of the ensemble that fitted ones are held against, and that is taken where they are no better."""

REACH = 8
"""Minutes on either side from which a minute's shrinkage is estimated too."""

QUARTER = 12
"""Minutes."""


@dataclass(frozen=True, slots=True)
class TrialPredictions:
    """What trial models say of n games that they have not seen, and what they should have said; in points.

    Attributes:
        dejavu: (n, 47, 2 modes, 2 horizons), what neighbours say should be added to the linear models.
        lstm: likewise, the LSTM.
        due: likewise, what the linear models leave.
    """

    dejavu: Floats
    lstm: Floats
    due: Floats


@dataclass(frozen=True, slots=True)
class WeightSelection:
    """The combination chosen, and how it came about.

    Attributes:
        combination: what goes into the bundle.
        fitted: (2 horizons, 4 quarters), Dejavu's share by least squares; NaN for a horizon that has passed.
        fitted_crps, fixed_crps: (2,), of the two on the games held out for that, in points: means over games, minutes
            and modes.
        takes_fitted: (2,), whether the fitted share is the better one.
    """

    combination: EnsembleWeights
    fitted: Floats
    fitted_crps: Floats
    fixed_crps: Floats
    takes_fitted: tuple[bool, ...]


def choose_weights(fitting: TrialPredictions, comparing: TrialPredictions) -> WeightSelection:
    """Fits the combination on some games and holds it against fixed weights on later ones."""
    shrinkage = fit_shrinkage(fitting.dejavu, fitting.due)
    fitted = fit_shares(fitting, shrinkage)
    by_minute = _by_minute(fitted)
    fixed = np.full_like(by_minute, FIXED_DEJAVU_WEIGHT)
    fitted_crps, fixed_crps = (_crps(fitting, comparing, shrinkage, weights) for weights in (by_minute, fixed))
    takes_fitted = fitted_crps < fixed_crps
    weights = np.where(takes_fitted[:, None], by_minute, fixed)
    return WeightSelection(
        EnsembleWeights(weights, shrinkage), fitted, fitted_crps, fixed_crps, tuple(takes_fitted.tolist())
    )


def fit_shrinkage(said: Floats, due: Floats) -> Floats:
    """The factor in [0, 1] by which what neighbours say is least wrong, for each horizon and minute.

    Least squares over the minutes within REACH, with triangular weights, since one minute's games can't tell how much
    the neighbours explain; drawn to 0 as far as chance alone may have made it (the positive part of James & Stein,
    Estimation with quadratic loss, 1961), with a game as the unit.

    Args:
        said: (n, 47, 2 modes, 2 horizons), by the neighbours, in points.
        due: likewise, what the linear models left.

    Returns:
        (2 horizons, 48); 0 for minute 0 and where a horizon has passed.
    """
    scale = np.square(_spreads(due))
    together = (said * due).sum(axis=2) / scale  # (n, 47, 2)
    size = np.square(said).sum(axis=2) / scale
    result = np.zeros((len(HORIZONS), MAX_SLOTS + 1))
    for place, horizon in enumerate(HORIZONS):
        minutes = np.arange(horizon.last_slot)
        near = (1 - np.abs(minutes[:, None] - minutes) / (REACH + 1)).clip(min=0)
        by_game, sizes = (values[:, : horizon.last_slot, place] @ near for values in (together, size))
        above, below = by_game.sum(axis=0), sizes.sum(axis=0)
        factor = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
        noise = np.square(by_game - factor * sizes).sum(axis=0)
        certain = 1 - np.divide(noise, np.square(above), out=np.ones_like(above), where=above > 0)
        result[place, 1 : horizon.last_slot + 1] = factor.clip(0, 1) * certain.clip(0, 1)
    return result


def fit_shares(trial: TrialPredictions, shrinkage: Floats) -> Floats:
    """Dejavu's share with which the ensemble is least wrong, in [0, 1], by horizon and quarter.

    Minutes and modes count alike, whatever the spread of what is left after them. A quarter's sums of squares are taken
    together with those of an average quarter, as a quarter alone tells little.

    Args:
        trial: what was said.
        shrinkage: (2, 48), how far neighbours are believed.

    Returns:
        (2 horizons, 4 quarters); NaN where a horizon has passed.
    """
    scale = _spreads(trial.due)[None, :, None, :]
    apart = (_believed(trial.dejavu, shrinkage) - trial.lstm) / scale
    wanted = (trial.due - trial.lstm) / scale
    together, size = ((apart * values).sum(axis=(0, 2)) for values in (wanted, apart))  # (47, 2)
    result = np.full((len(HORIZONS), 4), np.nan)
    for place, horizon in enumerate(HORIZONS):
        starts = np.arange(0, horizon.last_slot, QUARTER)
        above, below = (np.add.reduceat(sums[: horizon.last_slot, place], starts) for sums in (together, size))
        above, below = above + above.mean(), below + below.mean()
        shares = np.divide(above, below, out=np.full_like(above, FIXED_DEJAVU_WEIGHT), where=below > 0)
        result[place, : len(starts)] = shares.clip(0, 1)
    return result


def _believed(said: Floats, shrinkage: Floats) -> Floats:
    return said * shrinkage.T[None, 1:, None, :]


def _spreads(due: Floats) -> Floats:
    """(47, 2), what the linear models leave, in points; never 0."""
    spreads: Floats = np.sqrt(np.square(due).mean(axis=(0, 2))).clip(min=1e-6)
    return spreads


def _by_minute(shares: Floats) -> Floats:
    """(2, 4) by quarter → (2, 48) by minute; minutes that are not used have what fixed weights would have."""
    result = np.full((len(HORIZONS), MAX_SLOTS + 1), FIXED_DEJAVU_WEIGHT)
    result[:, 1:] = np.repeat(shares, QUARTER, axis=1)[:, :MAX_SLOTS]
    return np.where(np.isnan(result), FIXED_DEJAVU_WEIGHT, result)


def _crps(fitting: TrialPredictions, comparing: TrialPredictions, shrinkage: Floats, weights: Floats) -> Floats:
    """(2,), of the games compared, with the residuals of those that were fitted on as distribution."""
    # An error of the ensemble is one of what it adds to the linear models: the lead cancels.
    past, new = (_added(trial, shrinkage, weights) for trial in (fitting, comparing))
    result = np.empty(len(HORIZONS))
    for place, horizon in enumerate(HORIZONS):
        found = [
            metrics.crps(new[at], fitting.due[at] - past[at], comparing.due[at]).mean()
            for minute in range(horizon.last_slot)
            for mode in MARGIN_SOURCES
            for at in [(slice(None), minute, mode, place)]
        ]
        result[place] = np.mean(found)
    return result


def _added(trial: TrialPredictions, shrinkage: Floats, weights: Floats) -> Floats:
    share = weights.T[None, 1:, None, :]
    return share * _believed(trial.dejavu, shrinkage) + (1 - share) * trial.lstm
