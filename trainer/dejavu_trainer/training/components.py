"""Components that plug in: point models of other packages, found by entry points and chosen by name in the recipe.

A component is fitted like Dejavu and the LSTM. It sees the training games alone, and predicts corrections to the
increments of the linear models. Its weight is learned like Dejavu's scale: a trial fitted to the earlier training games
corrects the later ones, and the weight is the factor with the least squared error. Then it is fitted to all of them.
From then on only its ONNX graph counts, which a backtest scores and a server serves.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from dejavu_feed.errors import DataError
from dejavu_models.arrays import Floats, Singles
from dejavu_models.errors import ComponentsRefused
from dejavu_models.manifest import RESERVED_NAMES
from dejavu_models.point.graph_component import GraphComponent, OnnxGraph, check_runtime, golden_corrections
from dejavu_models.point.linear import LinearModels
from dejavu_models.point.onnx_graph import checked_graph
from dejavu_models.point.rows import ROW_COLUMNS, rows_of
from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MAX_SLOTS, MarginSource
from dejavu_trainer.execution import Advance
from dejavu_trainer.training.dejavu import error_products
from dejavu_trainer.training.linear import linear_residuals
from dejavu_trainer.training.lstm_config import FitError
from dejavu_trainer.training.ratings import RatedGames, margins_in_mode

GROUP: Final = "dejavu.components"
"""Group of the entry points; each names a class, or a function, that is called without arguments for a `Component`."""

PARITY_TOLERANCE: Final = 1e-2
"""Largest accepted difference between a component and its graph, in points: graphs compute in float32."""

STEPS: Final = 2
"""Number of progress updates of `fit_component`."""

_KNOWN_SHARE: Final = 2 / 3
"""Share of sampled rows that have the expected margin, as for the LSTM."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ComponentGames:
    """Games to fit a component to, n of them.

    Attributes:
        levels: (n, 47), differentials after each minute, in points.
        margins: (n,), expected final differentials before the game, in points; finite.
        increments: (n, 47, 2 margin sources, 2 horizons), increments that the linear models predict without and with
            the expected margin, in points; NaN for a horizon that has passed.
        corrections: the same shape, what has to be added to them to get the outcomes; 0 for a horizon that has passed.
    """

    levels: Floats
    margins: Floats
    increments: Floats
    corrections: Floats

    @classmethod
    def of(cls, linear: LinearModels, rated: RatedGames) -> ComponentGames:
        """Return games with the predictions of linear models."""
        levels = rated.games.levels
        increments = [
            linear.increments(slice(1, MAX_SLOTS + 1), levels, margins_in_mode(mode, rated.margins))
            for mode in MARGIN_SOURCES
        ]
        return cls(levels, rated.margins, np.stack(increments, axis=2), linear_residuals(linear, *rated))

    def __len__(self) -> int:
        return len(self.levels)

    def rows(self, minute: int, *, known: bool) -> tuple[Singles, Floats]:
        """Return the rows (n, ROW_COLUMNS) of all games after a minute, and their corrections (n, 2).

        Args:
            minute: from 1 to 47.
            known: whether the rows have the expected margin.
        """
        mode = MarginSource.KNOWN if known else MarginSource.UNKNOWN
        increments = self.increments[:, minute - 1, mode]
        rows = rows_of(self.levels[:, :minute], margins_in_mode(mode, self.margins), increments)
        return rows, self.corrections[:, minute - 1, mode]

    def sample(self, number: int, seed: int) -> tuple[Singles, Floats]:
        """Return the rows (m, ROW_COLUMNS) of random games after random minutes, and their corrections (m, 2).

        Two thirds of the rows have the expected margin.

        Args:
            number: number m of rows.
            seed: random seed.
        """
        random = np.random.default_rng(seed)
        games, known = random.integers(len(self), size=number), random.random(number) < _KNOWN_SHARE
        minutes = random.integers(1, MAX_SLOTS + 1, size=number)
        rows, corrections = np.empty((number, ROW_COLUMNS), dtype=np.float32), np.empty((number, len(HORIZONS)))
        for minute in range(1, MAX_SLOTS + 1):
            for with_margin in (False, True):
                chosen = np.flatnonzero((minutes == minute) & (known == with_margin))
                part = self._select(games[chosen])
                rows[chosen], corrections[chosen] = part.rows(minute, known=with_margin)
        return rows, corrections

    def _select(self, games: np.ndarray) -> ComponentGames:
        return ComponentGames(self.levels[games], self.margins[games], self.increments[games], self.corrections[games])


class FittedComponent(Protocol):
    """A component after its fit."""

    def predict(self, rows: Singles) -> Floats:
        """Return the corrections (n, 2) of rows (n, ROW_COLUMNS), in points, by horizon."""

    def to_onnx(self) -> bytes:
        """Return the model as an ONNX graph from `rows`, float32 of (n, ROW_COLUMNS), to float32 of (n, 2)."""


class Component(Protocol):
    """A point model that plugs in; docs/components.md describes it."""

    def fit(self, games: ComponentGames, seed: int) -> FittedComponent:
        """Fit the component; the same games and seed must give the same model."""


@dataclass(frozen=True, slots=True)
class ComponentChoice:
    """A component of a recipe.

    Attributes:
        name: name of its entry point.
        package, version: distribution that has it.
        code: SHA-256 of the module of the entry point, or of its package: a changed component is another recipe.
    """

    name: str
    package: str
    version: str
    code: str


@dataclass(frozen=True, slots=True)
class TrainedComponent:
    """A fitted component.

    Attributes:
        name: its name.
        content: its ONNX graph.
        weight: by horizon, in [0, 1]: factor of its corrections with the least squared error.
        gain: share of the linear models' squared error on later games that the weighted corrections removed.
        parity: largest difference between the component and its graph on training games, in points.
        golden: see `golden_corrections`.
    """

    name: str
    content: bytes
    weight: tuple[float, ...]
    gain: float
    parity: float
    golden: tuple[tuple[float, ...], ...]

    @property
    def served(self) -> GraphComponent:
        """The component as it is served."""
        return GraphComponent(self.name, OnnxGraph(self.content), self.weight)


def choose_components(names: Sequence[str]) -> tuple[ComponentChoice, ...]:
    """Return the installed components with some names.

    Raises:
        DataError: if one is not installed, or installed twice, or cannot have this name, or ONNX Runtime is not
            installed.
    """
    if len(set(names)) < len(names):
        raise DataError("a component is named twice")
    return tuple(_choice(name, _entry_point(name)) for name in names)


def _entry_point(name: str) -> EntryPoint:
    if not _NAME.fullmatch(name) or name in RESERVED_NAMES:
        expected = f"up to 32 of a-z, 0-9, - and _, a letter first, and none of {', '.join(RESERVED_NAMES)}"
        raise DataError(f"{name!r} cannot be the name of a component; expected {expected}")
    found = list(entry_points(group=GROUP, name=name))
    if len(found) != 1:
        others = ", ".join(sorted({each.name for each in entry_points(group=GROUP)})) or "none"
        how_many = "no installed package has" if not found else f"{len(found)} installed packages have"
        raise DataError(f"{how_many} a component {name!r}; installed: {others}")
    try:
        check_runtime(f"component {name}")
    except ComponentsRefused as error:
        raise DataError(str(error)) from error
    return found[0]


def _choice(name: str, found: EntryPoint) -> ComponentChoice:
    spec = importlib.util.find_spec(found.module)
    if spec is None or spec.origin is None or found.dist is None:
        raise DataError(f"the module {found.module} of component {name!r} cannot be found")
    folders = spec.submodule_search_locations or ()
    files = [Path(spec.origin), *(file for folder in folders for file in sorted(Path(folder).rglob("*.py")))]
    code = hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()
    return ComponentChoice(name, found.dist.name, found.dist.version, code)


def fit_component(
    choice: ComponentChoice,
    past: ComponentGames,
    later: ComponentGames,
    every: ComponentGames,
    minutes: Sequence[int],
    seed: int,
    advance: Advance,
) -> TrainedComponent:
    """Fit a component to the training games, and learn its weight.

    Args:
        choice: the component.
        past: the earlier training games, to which the trial is fitted.
        later: the later ones, on which the weight is learned.
        every: all of them.
        minutes: minutes at which the weight is learned.
        seed: random seed.
        advance: called with 1 after each of STEPS.

    Raises:
        FitError: if its graph is refused, or differs from the component.
    """
    component: Component = _entry_point(choice.name).load()()
    _, trial, _ = _fitted(choice.name, component, past, seed)
    advance(1)
    sums = np.zeros((3, len(HORIZONS)))
    for minute in minutes:
        parts = [later.rows(minute, known=known) for known in (False, True)]
        predicted, target = (np.stack(each, axis=1) for each in zip(*parts, strict=True))
        corrections = trial.corrections(predicted.reshape(-1, ROW_COLUMNS)).reshape(target.shape)
        sums += error_products(corrections, target, minute)
    cross, size, target = sums
    weight = (cross / np.maximum(size, np.finfo(float).tiny)).clip(0, 1)
    gain = (weight * (2 * cross - weight * size) / np.maximum(target, np.finfo(float).tiny)).mean()
    content, graph, parity = _fitted(choice.name, component, every, seed)
    advance(1)
    return TrainedComponent(
        choice.name, content, tuple(weight.tolist()), float(gain), parity, golden_corrections(graph)
    )


def _fitted(name: str, component: Component, games: ComponentGames, seed: int) -> tuple[bytes, OnnxGraph, float]:
    """Return the graph of a component fitted to games, as bytes and loaded, and the parity.

    Raises:
        FitError: if it is refused, or differs from the component.
    """
    model = component.fit(games, seed)
    try:
        content = checked_graph(model.to_onnx())
        graph = OnnxGraph(content)
        GraphComponent(name, graph, (1.0, 1.0)).check(golden_corrections(graph))
        rows, _ = games.sample(1000, seed)
        parity = float(np.abs(graph.corrections(rows) - model.predict(rows)).max())
    except ValueError as error:
        raise FitError(f"component {name} is refused: {error}") from error
    if not parity <= PARITY_TOLERANCE:
        raise FitError(f"the graph of component {name} differs from the component by {parity:.3g} points")
    return content, graph, parity
