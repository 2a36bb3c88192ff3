"""Pools the distributions with which a server would forecast games, and learns the weights of the components in them.

The continuous ranked probability score of a linear pool is quadratic in the weights, so the weights with the least
score are found exactly. Those of each horizon, quarter and source of the expected margin are learned by themselves, on
games that the components have not seen, and shrunk towards `_prior`: a cell has few games to tell them by.

A component that would make the forecasts of a cell worse than those of the linear models by more than TOLERANCE has no
weight there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.components.component import Advance
from dejavu_models.components.ensemble import CELLS, Ensemble, GameOpinions, Weights, cell_of
from dejavu_models.components.features import LIVE_COLUMNS
from dejavu_models.types import CASES, HORIZONS, LINEAR, LINEAR_SOURCES, MAX_SLOTS, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.distribution import VALUES, LatticeDistribution
from dejavu_models.uncertainty.lattice.margin_model import COLUMNS, Base, LiveColumns, LiveKind, MarginModel, is_used
from dejavu_trainer.data.games import Games
from dejavu_trainer.training.linear import linear_points
from dejavu_trainer.training.ratings import RatedGames


class ServedTables:
    """The tables that forecast each of n games: the first ones whose live inputs the game has, as in a server.

    Args:
        models: the tables, the best first; those for games without live inputs last.
        games: the games.
        opinions: what the components beside the linear models say of them; None if only the linear models count.

    Attributes:
        games: the games.
        use_live: whether any of them is forecast by tables with live inputs.
    """

    def __init__(self, models: Sequence[MarginModel], games: Games, opinions: GameOpinions | None = None) -> None:
        self._opinions = opinions
        self.games = games
        self._models = [(model, *live_columns(games, model.kind)) for model in models if model.kind]
        self._without = next((model for model in models if not model.kind), None)
        self.use_live = any(known.any() for _, _, known in self._models)

    @classmethod
    def of_source(
        cls,
        ensemble: Ensemble,
        calibration: LatticeCalibration,
        source: MarginSource,
        rated: RatedGames,
        *,
        with_live: bool = True,
    ) -> Self:
        """Return the distributions for games whose expected margins, (n,) or (n, 47) by minute, are of one source.

        Args:
            ensemble: the components.
            calibration: the tables.
            source: source of the margins.
            rated: the games with their margins.
            with_live: whether their live inputs are used.
        """
        kinds = (*(calibration.kinds(source) if with_live else ()), LiveKind.NONE)
        opinions = opinions_on(ensemble, source, rated, with_live=with_live)
        return cls([calibration.model(source, kind) for kind in kinds], rated.games, opinions)

    def distribution(
        self, points: Floats, margins: Floats, horizon: int, minute: int
    ) -> tuple[Floats, LatticeDistribution]:
        """Return the point forecasts, (n,), and the distributions at a horizon, by its index, from a minute.

        Margins are those of the games, (n,), or of their minutes, (n, 47).
        """
        margins = margins if margins.ndim == 1 else margins[:, minute - 1]
        centers, mass = np.empty(len(self.games)), np.empty((len(self.games), len(VALUES)))
        for base, rows in self._bases(points, margins, horizon, minute):
            made = base.prediction if self._opinions is None else self._opinions.pool(base, rows)
            centers[rows], mass[rows] = made.points, base.finished(made.below).mass
        return centers, LatticeDistribution(mass)

    def residuals(self, points: Floats, margins: Floats) -> Floats:
        """Return the standardised residuals of the linear models, (n, cases); arguments as of `distribution`."""
        result = np.empty((len(self.games), len(CASES)))
        for column, (horizon, minute) in enumerate(CASES):
            for base, rows in self._bases(points, margins, horizon, minute):
                result[rows, column] = (self.games.outcomes[rows, horizon] - base.centers) / base.units
        return result

    def _bases(
        self, points: Floats, margins: Floats, horizon: int, minute: int
    ) -> Iterator[tuple[Base, NDArray[np.intp]]]:
        """Yield the distributions of the linear models, and the games that they are of."""
        for model, rows, live in self._parts(minute):
            centers, leads = points[rows, minute - 1, horizon], self.games.levels[rows, minute - 1]
            if live is not None:
                centers = centers + model.shifts(HORIZONS[horizon], minute, live)
            yield model.base(HORIZONS[horizon], minute, centers, leads, np.nan_to_num(margins[rows]), live), rows

    def _parts(self, minute: int) -> Iterator[tuple[MarginModel, NDArray[np.intp], LiveColumns | None]]:
        """Yield the tables that are used after a minute, with their games and these games' live inputs."""
        left = np.ones(len(self.games), dtype=bool)
        for model, live, known in self._models:
            rows = np.flatnonzero(left & known)
            if len(rows) and is_used(model.kind, minute):
                left[rows] = False
                yield model, rows, live[rows, minute - 1]
        if left.any() and self._without is not None:
            yield self._without, np.flatnonzero(left), None


def fits_live_tables(games: Games, kind: LiveKind = LiveKind.SCORES) -> NDArray[np.bool_]:
    """Return which games tables with live inputs are fitted on, (n,); pace also needs the points at the end."""
    return live_columns(games, kind)[1] & (games.final_total >= 0)


def live_rows(games: Games) -> Floats:
    """Return the live inputs of components after each minute, (n, 47, LIVE_COLUMNS); NaN where unknown."""
    columns = [games.live_column(name)[:, :MAX_SLOTS].astype(np.float64) for name in LIVE_COLUMNS]
    return np.stack(columns, axis=-1)


def opinions_on(ensemble: Ensemble, source: MarginSource, rated: RatedGames, *, with_live: bool = True) -> GameOpinions:
    """Return what the components beside the linear models say of games; see `ServedTables.of_source`."""
    live = live_rows(rated.games)
    return GameOpinions(ensemble, source, rated.games.levels, rated.margins, live if with_live else live * np.nan)


def live_columns(games: Games, kind: LiveKind) -> tuple[LiveColumns, NDArray[np.bool_]]:
    """Return the live inputs of a kind by minute, (n, 47) each, and which games have them in all minutes of their use.

    Unknown inputs are 0.
    """
    columns = [games.live_column(name)[:, :MAX_SLOTS].astype(np.float64) for name in COLUMNS[kind]]
    used = np.array([is_used(kind, minute) for minute in range(1, MAX_SLOTS + 1)])
    known = ~np.asarray(np.isnan(np.stack(columns)[:, :, used]).any(axis=(0, 2)))
    return LiveColumns.of(kind, [np.nan_to_num(each) for each in columns]), known


LINEAR_SHARE: Final = 0.5
"""Weight of the linear models towards which learned ones are shrunk; the other components share the rest equally."""

ALONE: Final = 0.3
"""Weight of a component beside the linear models alone: its trial, and what learned weights are shrunk towards if no
other component has one."""

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
    names = ensemble.weights.names
    values, lower, upper = (np.empty((len(LINEAR_SOURCES), len(CELLS), len(names))) for _ in range(3))
    present = [name == LINEAR or name in ensemble.components for name in names]
    for row, source in enumerate(LINEAR_SOURCES):
        used = source if source in by_source else MarginSource.KNOWN
        for cell, products in enumerate(_products(ensemble, tables, used, by_source[used], present)):
            values[row, cell], lower[row, cell], upper[row, cell] = _weights_of(products, present)
        advance(1)
    return Weights(values, lower, upper, names)


def _products(
    ensemble: Ensemble, tables: LatticeCalibration, source: MarginSource, rated: RatedGames, present: Sequence[bool]
) -> list[Floats]:
    """Return, for each cell, the products of the components' errors in each game, (n, k, k).

    An error is the difference between a distribution function and the outcome's; a product is the sum over all values,
    the mean over the minutes of the cell.
    """
    points = linear_points(ensemble.linear, rated, line=source is MarginSource.LINE)
    columns, count = np.flatnonzero(present), len(present)
    names = ensemble.weights.names
    only = [Weights.fixed(*np.eye(count)[column], names=names) for column in columns]
    alone = [ServedTables.of_source(replace(ensemble, weights=each), tables, source, rated) for each in only]
    result = [np.zeros((len(rated.games), count, count)) for _ in CELLS]
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


def _weights_of(products: Floats, present: Sequence[bool]) -> tuple[Floats, Floats, Floats]:
    """Return the weights of a cell and the ends of their intervals, (k,) each."""
    mean = products.mean(axis=0)
    accepted = [True, *(present[column] and _is_accepted(mean, column) for column in range(1, len(present)))]
    counts = np.random.default_rng(_SEED).multinomial(
        len(products), np.full(len(products), 1 / len(products)), RESAMPLES
    )
    resampled = (counts @ products.reshape(len(products), -1) / len(products)).reshape(-1, *mean.shape)
    best, *others = best_weights(np.concatenate([mean[None], resampled]), accepted)
    lower, upper = np.clip(np.quantile(others, (0.025, 0.975), axis=0), 0, 1)
    return best, lower, upper


def _is_accepted(mean: Floats, column: int) -> bool:
    trial = np.zeros(len(mean))
    trial[0], trial[column] = 1 - ALONE, ALONE
    return bool(trial @ mean @ trial <= (1 + TOLERANCE) * mean[0, 0])


def best_weights(means: Floats, accepted: Sequence[bool], shrinkage: float = SHRINKAGE) -> Floats:
    """Return the weights with the least score plus `shrinkage` times the distance from the prior.

    The distance is measured as the score is: by the difference that the weights make to the distributions.

    Args:
        means: (n, k, k), mean products of the components' errors in n samples of games.
        accepted: which components may have a weight.
        shrinkage: weight of the distance.

    Returns:
        (n, k).
    """
    prior = _prior(accepted)
    best, least = np.tile(prior, (len(means), 1)), np.full(len(means), np.inf)
    for size in range(1, 1 + sum(accepted)):
        for used in itertools.combinations(np.flatnonzero(accepted).tolist(), size):
            weights = _stationary(means, prior, used, shrinkage)
            scores = _scores(means, weights) + shrinkage * _scores(means, weights - prior)
            better = (weights >= 0).all(axis=1) & (scores < least)
            best[better], least[better] = weights[better], scores[better]
    result: Floats = np.clip(best, 0, 1)
    result /= result.sum(axis=1, keepdims=True)
    return result


def _scores(means: Floats, weights: Floats) -> Floats:
    """Return the scores of pools with weights, (n, k): (n,)."""
    result: Floats = np.einsum("ni,nij,nj->n", weights, means, weights)
    return result


def _prior(accepted: Sequence[bool]) -> Floats:
    """Return the weights towards which learned ones are shrunk, (k,)."""
    count = sum(accepted) - 1
    linear = LINEAR_SHARE if count > 1 else 1 - ALONE * count
    result = np.array(accepted) * (1 - linear) / max(count, 1)
    result[0] = linear
    return result


def _stationary(means: Floats, prior: Floats, used: Sequence[int], shrinkage: float) -> Floats:
    """Return weights, (n, k), with which the gradient of the penalised score is the same for all used components.

    Those of other components are 0. They sum to 1; where components are the same, they have equal parts.
    """
    count = len(used)
    systems = np.ones((len(means), count + 1, count + 1))
    systems[:, :count, :count] = 2 * (1 + shrinkage) * means[:, used][:, :, used]
    systems[:, count, count] = 0.0
    right = np.ones((len(means), count + 1))
    right[:, :count] = 2 * shrinkage * (means @ prior)[:, used]
    result = np.zeros((len(means), len(prior)))
    inverses = np.linalg.pinv(systems, rcond=np.finfo(np.float64).eps * (count + 1))
    result[:, used] = (inverses @ right[:, :, None])[:, :count, 0]
    return result
