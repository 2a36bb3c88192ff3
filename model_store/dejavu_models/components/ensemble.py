"""The components of a bundle, and their weights in the pool of their distributions.

The distribution of a forecast is a linear pool (Stone, The opinion pool, 1961; Gneiting & Ranjan, Combining predictive
distributions, 2013): its share below a value is the weighted mean of those of the components. The linear models, with
the tables of their distribution, are the first; similar games and the LSTM are relative to it.

Some components ship; installed packages name others in their entry points.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats, check_array, from_npz, to_npz
from dejavu_models.components.component import Component, checked
from dejavu_models.components.dejavu import Dejavu
from dejavu_models.components.features import ALL, Places, Played
from dejavu_models.components.linear import LinearModels
from dejavu_models.components.lstm import Lstm
from dejavu_models.errors import ComponentMissing
from dejavu_models.types import COMPONENTS, HORIZONS, LINEAR, LINEAR_SOURCES, ComponentWeight, MarginSource
from dejavu_models.uncertainty.lattice.margin_model import Base, Distributions

GROUP: Final = "dejavu.components"
"""Group of the entry points."""

SHIPPED: Final[dict[str, type[Component]]] = {"dejavu": Dejavu, "lstm": Lstm}


@cache
def component_class(name: str, package: str = "") -> type[Component]:
    """Return the class of a component.

    Args:
        name: its name.
        package: package that a bundle names as its origin, for the message.

    Raises:
        ComponentMissing: if no installed package has it, or what it has is no such component.
    """
    if name in SHIPPED:
        return SHIPPED[name]
    found = _entry_point(name)
    if found is None:
        needed = package or f"a package with the entry point {name} in {GROUP}"
        raise ComponentMissing(f"component {name} is not installed; install {needed}")
    try:
        loaded = found.load()
    except Exception as error:  # of any code of the package
        raise ComponentMissing(f"component {name}: {found.value} cannot be imported: {error}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Component) and loaded.name == name):
        raise ComponentMissing(f"component {name}: {found.value} is not a Component whose name is {name}")
    return loaded


def package_of(name: str) -> str:
    """Return package and version that a component is from, such as "dejavu-gbm 0.1"; empty for those that ship."""
    found = None if name in SHIPPED else _entry_point(name)
    return "" if found is None or found.dist is None else f"{found.dist.name} {found.dist.version}"


def _entry_point(name: str) -> EntryPoint | None:
    return next(iter(entry_points(group=GROUP, name=name)), None)


POOLED: Final = (LINEAR, *COMPONENTS)
"""Components in the order of the weights; further ones follow."""

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
        values: (3 margin sources, cells, components), in the orders of LINEAR_SOURCES, CELLS and `names`; those of a
            cell sum to 1.
        lower, upper: of the same form, 95 % intervals of learned weights; `values` for fixed ones.
        names: the components: POOLED, then any others.

    Raises:
        ValueError: if a form is wrong, or the weights of a cell are negative or do not sum to 1.
    """

    values: Floats
    lower: Floats
    upper: Floats
    names: tuple[str, ...] = POOLED

    def __post_init__(self) -> None:
        form = (len(LINEAR_SOURCES), len(CELLS), len(self.names))
        for name in ("values", "lower", "upper"):
            check_array(f"weights: {name}", getattr(self, name), np.float64, form, 0, 1)
        if not (np.abs(self.values.sum(axis=-1) - 1) <= _ROUNDING).all():
            raise ValueError("the weights of each cell must sum to 1")

    @classmethod
    def fixed(cls, *weights: float, names: tuple[str, ...] = POOLED) -> Weights:
        """Return the same weights for all cells; components for which none is given have 0."""
        row = np.array([*weights, *[0.0] * (len(names) - len(weights))])
        values = np.tile(row, (len(LINEAR_SOURCES), len(CELLS), 1))
        return cls(values, values, values, names)

    def of(self, source: MarginSource, horizon: int, minute: int) -> Floats:
        """Return the weights of a margin source and a case, (components,); those of ratings for MarginSource.RATED."""
        row = LINEAR_SOURCES.index(MarginSource.KNOWN if source is MarginSource.RATED else source)
        weights: Floats = self.values[row, cell_of(horizon, minute)]
        return weights

    def listed(self) -> Iterator[ComponentWeight]:
        """Yield all weights."""
        for row, source in enumerate(LINEAR_SOURCES):
            for cell, (horizon, quarter) in enumerate(CELLS):
                for column, component in enumerate(self.names):
                    place = row, cell, column
                    numbers = (float(each[place]) for each in (self.values, self.lower, self.upper))
                    yield ComponentWeight(component, horizon, quarter, source, *numbers)

    def to_bytes(self) -> bytes:
        """Serialize to a .npz file; equal weights give equal bytes."""
        return to_npz(values=self.values, lower=self.lower, upper=self.upper)

    @classmethod
    def from_bytes(cls, content: bytes, names: tuple[str, ...] = POOLED) -> Weights:
        """Deserialize the output of `to_bytes` of weights with these names.

        Raises:
            ValueError, KeyError: if the content is not valid output of `to_bytes`.
        """
        columns = from_npz(content)
        return cls(columns["values"], columns["lower"], columns["upper"], names)


ONLY_LINEAR: Final = Weights.fixed(1.0, 0.0, 0.0)


@dataclass(frozen=True)
class Ensemble:
    """The components of a bundle.

    Attributes:
        linear: the linear models.
        members: the other components, in the order of their weights: Dejavu, the LSTM, those of other packages.
        weights: their weights; those of components that are missing are 0.

    Raises:
        ValueError: if a component that is missing has a weight.
    """

    linear: LinearModels
    members: tuple[Component, ...] = ()
    weights: Weights = ONLY_LINEAR

    def __post_init__(self) -> None:
        for name, values in zip(self.weights.names, np.moveaxis(self.weights.values, -1, 0), strict=True):
            if name not in (LINEAR, *self.components) and values.any():
                raise ValueError(f"{name} has a weight, but is not a component")

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components beside the linear models, in the order of their weights."""
        return tuple(each.name for each in self.members)

    @cached_property
    def dejavu(self) -> Dejavu | None:
        """The database of past games; None if it is not a component."""
        return next((each for each in self.members if isinstance(each, Dejavu)), None)

    @cached_property
    def lstm(self) -> Lstm | None:
        """The LSTM; None if it is not a component."""
        return next((each for each in self.members if isinstance(each, Lstm)), None)

    @cached_property
    def others(self) -> tuple[Component, ...]:
        """Components of other packages."""
        return tuple(each for each in self.members if each.name not in COMPONENTS)


class GameOpinions(Played):
    """What an ensemble predicts for n games after every minute; the reference for the compiled models.

    Args:
        ensemble: the ensemble.
        source: source of the expected margins.
        levels, margins, live: see `Played`.
    """

    def __init__(self, ensemble: Ensemble, source: MarginSource, levels: Floats, margins: Floats, live: Floats) -> None:
        super().__init__(levels, margins, live)
        self._ensemble, self._source = ensemble, source

    def pool(self, base: Base, places: Places = ALL) -> Distributions:
        """Return the pool of all components for some of the games, by their distributions by the linear models."""
        weights = self._ensemble.weights.of(self._source, HORIZONS.index(base.horizon), base.minute)
        members = {each.name: each for each in self._ensemble.members}
        rows = self.rows(base.minute, places)
        points, below = np.zeros(len(base.centers)), np.zeros_like(base.distances)
        for weight, name in zip(weights.tolist(), self._ensemble.weights.names, strict=True):
            if weight:
                made = base.prediction if name == LINEAR else checked(members[name], rows, base)
                points += weight * made.points
                below += weight * made.below
        return Distributions(points, below)
