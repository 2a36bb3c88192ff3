"""The components of a bundle, and their weights in the pool of their distributions.

The distribution of a forecast is a linear pool (Stone, The opinion pool, 1961; Gneiting & Ranjan, Combining predictive
distributions, 2013): its share below a value is the weighted mean of those of the components. The linear models, with
the tables of their distribution, are the first; similar games and the LSTM are relative to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats, Integers, from_npz, to_npz
from dejavu_models.components.dejavu import Dejavu
from dejavu_models.components.features import Rows, live_features
from dejavu_models.components.linear import LinearModels
from dejavu_models.components.lstm import Lstm, LstmOutputs
from dejavu_models.types import (
    COMPONENTS,
    HORIZONS,
    LINEAR,
    LINEAR_SOURCES,
    ComponentWeight,
    MarginSource,
)
from dejavu_models.uncertainty.lattice.opinions import Opinions

POOLED: Final = (LINEAR, *COMPONENTS)
"""Components in the order of the weights."""

CELLS: Final = tuple(
    (horizon, quarter) for horizon in HORIZONS for quarter in range(1, (horizon.last_slot - 1) // 12 + 2)
)
"""Horizons and quarters that have weights of their own."""

_ROUNDING: Final = 1e-9


def cell_of(horizon: int, minute: int) -> int:
    """Return the index in CELLS of a horizon, by its index, and a minute."""
    return CELLS.index((HORIZONS[horizon], (minute - 1) // 12 + 1))


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Weights of the components.

    Attributes:
        values: (3 margin sources, cells, 3 components), in the orders of LINEAR_SOURCES, CELLS and POOLED; those of a
            cell sum to 1.
        lower, upper: of the same form, 95 % intervals of learned weights; `values` for fixed ones.

    Raises:
        ValueError: if a form is wrong, or the weights of a cell are negative or do not sum to 1.
    """

    values: Floats
    lower: Floats
    upper: Floats

    def __post_init__(self) -> None:
        form = (len(LINEAR_SOURCES), len(CELLS), len(POOLED))
        for name in ("values", "lower", "upper"):
            column = getattr(self, name)
            if column.shape != form or column.dtype != np.float64 or not ((column >= 0) & (column <= 1)).all():
                raise ValueError(f"weights: {name} must be float64 of shape {form} in [0, 1]")
        if not (np.abs(self.values.sum(axis=-1) - 1) <= _ROUNDING).all():
            raise ValueError("the weights of each cell must sum to 1")

    @classmethod
    def fixed(cls, linear: float, dejavu: float, lstm: float) -> Weights:
        """Return the same weights for all cells."""
        values = np.tile(np.array([linear, dejavu, lstm]), (len(LINEAR_SOURCES), len(CELLS), 1))
        return cls(values, values, values)

    def of(self, source: MarginSource, horizon: int, minute: int) -> Floats:
        """Return the weights of a margin source and a case, (3,); those of ratings for MarginSource.RATED."""
        row = LINEAR_SOURCES.index(MarginSource.KNOWN if source is MarginSource.RATED else source)
        weights: Floats = self.values[row, cell_of(horizon, minute)]
        return weights

    def use(self, component: str) -> bool:
        """Return whether a component has a weight anywhere."""
        return bool(self.values[..., POOLED.index(component)].any())

    def listed(self) -> Iterator[ComponentWeight]:
        """Yield all weights."""
        for row, source in enumerate(LINEAR_SOURCES):
            for cell, (horizon, quarter) in enumerate(CELLS):
                for column, component in enumerate(POOLED):
                    place = row, cell, column
                    numbers = (float(each[place]) for each in (self.values, self.lower, self.upper))
                    yield ComponentWeight(component, horizon, quarter, source, *numbers)

    def to_bytes(self) -> bytes:
        """Serialize to a .npz file; equal weights give equal bytes."""
        return to_npz(values=self.values, lower=self.lower, upper=self.upper)

    @classmethod
    def from_bytes(cls, content: bytes) -> Weights:
        """Deserialize the output of `to_bytes`.

        Raises:
            ValueError, KeyError: if the content is not valid output of `to_bytes`.
        """
        columns = from_npz(content)
        return cls(columns["values"], columns["lower"], columns["upper"])


ONLY_LINEAR: Final = Weights.fixed(1.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The components of a bundle.

    Attributes:
        linear: the linear models.
        dejavu: the database of past games; None if it is not a component.
        lstm: None if it is not a component.
        weights: their weights; those of components that are missing are 0.

    Raises:
        ValueError: if a component that is missing has a weight.
    """

    linear: LinearModels
    dejavu: Dejavu | None = None
    lstm: Lstm | None = None
    weights: Weights = ONLY_LINEAR

    def __post_init__(self) -> None:
        for name in COMPONENTS:
            if getattr(self, name) is None and self.weights.use(name):
                raise ValueError(f"{name} has a weight, but is not a component")

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components beside the linear models, in the order of COMPONENTS."""
        return tuple(name for name in COMPONENTS if getattr(self, name) is not None)


class GameOpinions:
    """Opinions of an ensemble on n games after every minute; the reference for the compiled models.

    Args:
        ensemble: the ensemble.
        source: source of the expected margins.
        levels: (n, 47), differentials after each minute, in points; padding after a game's last known minute does not
            affect that minute or earlier ones.
        margins: (n,), expected final differentials before the game, or (n, 47) by minute, in points; NaN if unknown.
        live: (n, 47, 5), LIVE_COLUMNS after each minute.
    """

    def __init__(self, ensemble: Ensemble, source: MarginSource, levels: Floats, margins: Floats, live: Floats) -> None:
        self._ensemble, self._source = ensemble, source
        self._levels, self._live = levels, live
        self._margins = np.broadcast_to(margins if margins.ndim == 2 else margins[:, None], levels.shape)
        self._groups: tuple[int, Integers] | None = None  # of the last minute: both horizons need them

    def at(self, horizon: int, minute: int) -> Opinions | None:
        """Return the opinions at a horizon, by its index, after a minute; None if only the linear models count."""
        weights = self._ensemble.weights.of(self._source, horizon, minute)
        if not weights[1:].any():
            return None
        dejavu, none = self._ensemble.dejavu, np.zeros(len(self._levels))
        histograms, means, log_scales = None, none, none
        if dejavu is not None and weights[1]:
            histograms = dejavu.histograms(horizon, minute, self.groups(dejavu, minute))
        if self._outputs is not None and weights[2]:
            means, log_scales = (each[:, minute - 1, horizon] for each in self._outputs)
        return Opinions(weights, histograms, means, log_scales)

    def groups(self, dejavu: Dejavu, minute: int) -> Integers:
        """Return the groups of similar games after a minute, (n, nearest)."""
        if self._groups is None or self._groups[0] != minute:
            column = minute - 1
            rows = Rows(self._levels[:, :minute], self._margins[:, column], self._live[:, column])
            self._groups = minute, dejavu.nearest(rows)
        return self._groups[1]

    @cached_property
    def _outputs(self) -> LstmOutputs | None:
        lstm = self._ensemble.lstm
        if lstm is None:
            return None
        live = live_features(self._live, lstm.mean_totals[1 : self._levels.shape[1] + 1])
        result = LstmOutputs(*(np.empty((*self._levels.shape, len(HORIZONS))) for _ in LstmOutputs._fields))
        first = 0
        for end in range(1, self._levels.shape[1] + 1):  # minutes with the same margins need one run
            same = end < self._levels.shape[1] and np.array_equal(
                self._margins[:, first], self._margins[:, end], equal_nan=True
            )
            if not same:
                made = lstm.outputs(self._levels[:, :end], self._margins[:, first], live[:, :end])
                for whole, part in zip(result, made, strict=True):
                    whole[:, first:end] = part[:, first:end]
                first = end
        return result
