"""Learns the weights of the components in the pool of their distributions.

The continuous ranked probability score of a linear pool is quadratic in the weights, so the weights with the least
score are found exactly. Those of each horizon, quarter and source of the expected margin are learned by themselves, on
games that the components have not seen, and shrunk towards PRIOR: what a cell's games say of them is little.

A component that would make the forecasts of a cell worse than those of the linear models by more than TOLERANCE has no
weight there.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.components.ensemble import CELLS, POOLED, Ensemble, Weights, cell_of
from dejavu_models.types import CASES, LINEAR_SOURCES, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.distribution import VALUES
from dejavu_trainer.execution import Advance
from dejavu_trainer.training.linear import linear_points
from dejavu_trainer.training.ratings import RatedGames
from dejavu_trainer.training.served_tables import ServedTables

PRIOR: Final = (0.5, 0.25, 0.25)
"""Weights of the linear models, Dejavu and the LSTM towards which learned ones are shrunk."""

ALONE: Final = 0.3
"""Weight of a component beside the linear models alone: its trial, and what learned weights are shrunk towards if the
other component has none."""

SHRINKAGE: Final = 19.0
"""Weight of the distance from the prior, relative to that of the score: of what the games of a cell say, a twentieth
counts. With less, on 2016 and 2017, the intervals of the weights were as wide as all possible weights."""

TOLERANCE: Final = 0.0005
"""Greatest accepted share by which a component may worsen the score of a cell."""

RESAMPLES: Final = 500
_SEED: Final = 75


def learn_weights(
    ensemble: Ensemble,
    tables: LatticeCalibration,
    by_source: Mapping[MarginSource, RatedGames],
    advance: Advance,
) -> Weights:
    """Learn the weights of the components that an ensemble has.

    Args:
        ensemble: the components.
        tables: tables of the distributions.
        by_source: games that neither components nor tables have seen, with their expected margins by source; at least
            those of MarginSource.UNKNOWN and KNOWN.
        advance: called with 1 after each source.
    """
    parts = [np.empty((len(LINEAR_SOURCES), len(CELLS), len(POOLED))) for _ in range(3)]
    present = [True, *(getattr(ensemble, name) is not None for name in POOLED[1:])]
    for row, source in enumerate(LINEAR_SOURCES):
        used = source if source in by_source else MarginSource.KNOWN
        for cell, products in enumerate(_products(ensemble, tables, used, by_source[used], present)):
            for part, numbers in zip(parts, _weights_of(products, present), strict=True):
                part[row, cell] = numbers
        advance(1)
    return Weights(*parts)


def _products(
    ensemble: Ensemble, tables: LatticeCalibration, source: MarginSource, rated: RatedGames, present: Sequence[bool]
) -> list[Floats]:
    """Return, for each cell, the products of the components' errors in each game, (n, 3, 3).

    An error is the difference between a distribution function and the outcome's; a product is the sum over all values,
    the mean over the minutes of the cell.
    """
    points = linear_points(ensemble.linear, rated, line=source is MarginSource.LINE)
    alone = [
        ServedTables.of_source(replace(ensemble, weights=_only(column)), tables, source, rated)
        for column in range(len(POOLED))
        if present[column]
    ]
    columns = np.flatnonzero(present)
    result = [np.zeros((len(rated.games), len(POOLED), len(POOLED))) for _ in CELLS]
    for horizon, minute in CASES:
        happened = rated.games.outcomes[:, horizon, None] <= VALUES
        errors = np.stack(
            [each.distribution(points, rated.margins, horizon, minute)[1].below for each in alone], axis=1
        )
        errors -= happened[:, None, :]
        cell = cell_of(horizon, minute)
        minutes = sum(cell_of(*case) == cell for case in CASES)
        result[cell][:, columns[:, None], columns] += errors @ errors.transpose(0, 2, 1) / minutes
    return result


def _only(column: int) -> Weights:
    return Weights.fixed(*(float(each == column) for each in range(len(POOLED))))


def _weights_of(products: Floats, present: Sequence[bool]) -> tuple[Floats, Floats, Floats]:
    """Return the weights of a cell and the ends of their intervals, (3,) each."""
    mean = products.mean(axis=0)
    accepted = [True, *(present[column] and _is_accepted(mean, column) for column in range(1, len(POOLED)))]
    counts = np.random.default_rng(_SEED).multinomial(
        len(products), np.full(len(products), 1 / len(products)), RESAMPLES
    )
    resampled = (counts @ products.reshape(len(products), -1) / len(products)).reshape(-1, *mean.shape)
    best, *others = _best(np.concatenate([mean[None], resampled]), accepted)
    lower, upper = np.clip(np.quantile(others, (0.025, 0.975), axis=0), 0, 1)
    return best, lower, upper


def _is_accepted(mean: Floats, column: int) -> bool:
    trial = np.zeros(len(POOLED))
    trial[0], trial[column] = 1 - ALONE, ALONE
    return bool(trial @ mean @ trial <= (1 + TOLERANCE) * mean[0, 0])


def _best(means: Floats, accepted: Sequence[bool]) -> Floats:
    """Return the weights with the least score plus SHRINKAGE times the distance from the prior.

    The distance is measured as the score is: by the difference that the weights make to the distributions.

    Args:
        means: (n, 3, 3), mean products of the components' errors in n samples of games.
        accepted: which components may have a weight.

    Returns:
        (n, 3).
    """
    prior = _prior(accepted)
    best, least = np.tile(prior, (len(means), 1)), np.full(len(means), np.inf)
    for size in range(1, 1 + sum(accepted)):
        for used in itertools.combinations(np.flatnonzero(accepted).tolist(), size):
            weights = _stationary(means, prior, used)
            scores = _scores(means, weights) + SHRINKAGE * _scores(means, weights - prior)
            better = (weights >= 0).all(axis=1) & (scores < least)
            best[better], least[better] = weights[better], scores[better]
    result: Floats = np.clip(best, 0, 1)
    result /= result.sum(axis=1, keepdims=True)
    return result


def _scores(means: Floats, weights: Floats) -> Floats:
    """Return the scores of pools with weights, (n, 3): (n,)."""
    result: Floats = np.einsum("ni,nij,nj->n", weights, means, weights)
    return result


def _prior(accepted: Sequence[bool]) -> Floats:
    if all(accepted):
        return np.array(PRIOR)
    alone = np.array(accepted, dtype=np.float64) * ALONE
    alone[0] = 1 - alone[1:].sum()
    return alone


def _stationary(means: Floats, prior: Floats, used: Sequence[int]) -> Floats:
    """Return weights, (n, 3), with which the gradient of the penalised score is the same for all used components.

    Those of other components are 0. They sum to 1; where components are the same, they have equal parts.
    """
    count = len(used)
    systems = np.ones((len(means), count + 1, count + 1))
    systems[:, :count, :count] = 2 * (1 + SHRINKAGE) * means[:, used][:, :, used]
    systems[:, count, count] = 0.0
    right = np.ones((len(means), count + 1))
    right[:, :count] = 2 * SHRINKAGE * (means @ prior)[:, used]
    result = np.zeros((len(means), len(prior)))
    inverses = np.linalg.pinv(systems, rcond=np.finfo(np.float64).eps * (count + 1))
    result[:, used] = (inverses @ right[:, :, None])[:, :count, 0]
    return result
