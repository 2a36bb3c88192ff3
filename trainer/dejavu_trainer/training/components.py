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
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from dejavu_feed.errors import DataError
from dejavu_models.arrays import Floats, Singles
from dejavu_models.errors import ComponentsRefused
from dejavu_models.manifest import RESERVED_NAMES
from dejavu_models.point.graph_component import GraphComponent, OnnxGraph, check_runtime, golden_corrections
from dejavu_models.point.linear import LinearModels
from dejavu_models.point.onnx_graph import checked_graph
from dejavu_models.point.rows import MINUTE, ROW_COLUMNS, rows_of
from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MAX_SLOTS, MarginSource
from dejavu_trainer.data.split import hold_out_last
from dejavu_trainer.execution import Advance
from dejavu_trainer.training.dejavu import error_products
from dejavu_trainer.training.linear import fit_linear, linear_residuals
from dejavu_trainer.training.lstm_config import FitError
from dejavu_trainer.training.ratings import RatedGames, margins_in_mode

GROUP: Final = "dejavu.components"
"""Group of the entry points; each names a class, or a function, that is called with the settings for a `Component`."""

PARITY_TOLERANCE: Final = 1e-2
"""Largest accepted difference between a component and its graph, in points: graphs compute in float32."""

STEPS: Final = 2
"""Number of progress updates of `fit_component`."""

_MAX_SHOWN: Final = 300
"""Maximum length of the text of a component's error; those of converters can have pages."""

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


class ComponentParts(NamedTuple):
    """Games to fit a component to.

    Attributes:
        past: the earlier training games, to which the trial is fitted.
        later: the later ones, on which the weight is learned.
        every: all of them.
    """

    past: ComponentGames
    later: ComponentGames
    every: ComponentGames

    @classmethod
    def of(cls, linear: LinearModels, rated: RatedGames, held_out: float) -> ComponentParts:
        """Split training games.

        Args:
            linear: the linear models that are fitted to all of them.
            rated: the training games.
            held_out: share of the later ones.
        """
        past, later = (rated.select(part) for part in hold_out_last(rated.games.date, held_out))
        of_past = fit_linear(*past, cube=True)
        return cls(
            ComponentGames.of(of_past, past), ComponentGames.of(of_past, later), ComponentGames.of(linear, rated)
        )


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
        settings: arguments of the entry point, numbers and texts as in JSON.
    """

    name: str
    package: str
    version: str
    code: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainedComponent:
    """A fitted component.

    Attributes:
        name: its name.
        content: its ONNX graph.
        weight: by horizon, in [0, 1]: factor of its corrections with the least squared error.
        gain: share of the linear models' squared error on later games that the weighted corrections removed.
        unweighted_gain: the same with weight 1; below 0, the corrections add to the error.
        parity: largest difference between the component and its graph on training games, in points.
        golden: see `golden_corrections`.
        package: distribution that it was fitted by, and its version.
    """

    name: str
    content: bytes
    weight: tuple[float, ...]
    gain: float
    unweighted_gain: float
    parity: float
    golden: tuple[tuple[float, ...], ...]
    package: str

    @property
    def served(self) -> GraphComponent:
        """The component as it is served."""
        return GraphComponent(self.name, OnnxGraph(self.content), self.weight)


def choose_components(settings: Mapping[str, dict[str, Any]]) -> tuple[ComponentChoice, ...]:
    """Return installed components, by their names.

    Args:
        settings: settings of each component, by its name.

    Raises:
        DataError: if one is not installed, or installed twice, cannot have this name or these settings, or ONNX Runtime
            is not installed.
    """
    choices = tuple(_choice(name, _entry_point(name), settings[name]) for name in sorted(settings))
    for each in choices:
        try:
            _new(each)
        except FitError as error:
            raise DataError(str(error)) from error
    return choices


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


def _choice(name: str, found: EntryPoint, settings: dict[str, Any]) -> ComponentChoice:
    spec = importlib.util.find_spec(found.module)
    if spec is None or spec.origin is None or found.dist is None:
        raise DataError(f"the module {found.module} of component {name!r} cannot be found")
    folders = spec.submodule_search_locations or ()
    files = [Path(spec.origin), *(file for folder in folders for file in sorted(Path(folder).rglob("*.py")))]
    code = hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()
    return ComponentChoice(name, found.dist.name, found.dist.version, code, settings)


def _new(choice: ComponentChoice) -> Component:
    """Return a component with its settings.

    Raises:
        FitError: if it can't be made.
    """
    with _named(choice, f"cannot be made with {choice.settings or 'no settings'}"):
        component: Component = _entry_point(choice.name).load()(**choice.settings)
        return component


@contextmanager
def _named(choice: ComponentChoice, what: str) -> Iterator[None]:
    """Turn any error of a component into one that names the component and its line; send what it prints to stderr.

    Raises:
        FitError: if the block raises anything.
    """
    try:
        with redirect_stdout(sys.stderr):  # stdout is for the document of --json
            yield
    except (Exception, SystemExit) as error:
        text = " ".join(f"{error}".split())
        shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
        place = _place(choice, error)
        raise FitError(f"component {choice.name} {what}: {type(error).__name__}: {shown}{place}") from error


def _place(choice: ComponentChoice, error: BaseException) -> str:
    """Return the last line of the component's own code in a traceback; empty if it has none."""
    spec = importlib.util.find_spec(_entry_point(choice.name).module)
    home = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    own = [line for line in traceback.extract_tb(error.__traceback__) if Path(line.filename).parent == home]
    return f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""


def fit_component(
    choice: ComponentChoice,
    parts: ComponentParts,
    minutes: Sequence[int],
    seed: int,
    advance: Advance,
) -> TrainedComponent:
    """Fit a component to the training games, and learn its weight.

    Args:
        choice: the component.
        parts: the training games.
        minutes: minutes at which the weight is learned.
        seed: random seed.
        advance: called with 1 after each of STEPS.

    Raises:
        FitError: if it fails, or its graph is refused, or differs from the component.
    """
    _, trial, _ = fit_graph(choice, parts.past, seed)
    advance(1)
    sums = np.zeros((3, len(HORIZONS)))
    for minute in minutes:
        later = [parts.later.rows(minute, known=known) for known in (False, True)]
        predicted, target = (np.stack(each, axis=1) for each in zip(*later, strict=True))
        corrections = trial.corrections(predicted.reshape(-1, ROW_COLUMNS)).reshape(target.shape)
        sums += error_products(corrections, target, minute)
    cross, size, target = sums
    weight = (cross / np.maximum(size, np.finfo(float).tiny)).clip(0, 1)
    gain, unweighted = (
        float((factor * (2 * cross - factor * size) / np.maximum(target, np.finfo(float).tiny)).mean())
        for factor in (weight, 1.0)
    )
    content, graph, parity = fit_graph(choice, parts.every, seed)
    advance(1)
    return TrainedComponent(
        choice.name,
        content,
        tuple(weight.tolist()),
        gain,
        unweighted,
        parity,
        golden_corrections(graph),
        f"{choice.package} {choice.version}",
    )


def fit_graph(choice: ComponentChoice, games: ComponentGames, seed: int) -> tuple[bytes, OnnxGraph, float]:
    """Fit a component to games; return its graph, as bytes and loaded, and the parity.

    Raises:
        FitError: if it fails, or its graph is refused, or differs from the component.
    """
    with _named(choice, "cannot be fitted"):
        # A copy, as of the rows below: what the component writes into it changes nothing that is fitted or checked.
        model: FittedComponent = _new(choice).fit(deepcopy(games), seed)
    if missing := [name for name in ("predict", "to_onnx") if not callable(getattr(model, name, None))]:
        kind = f"{type(model).__name__}, which has no {' and no '.join(missing)}"
        raise FitError(f"component {choice.name}: fit returns {kind}; expected a model with predict and to_onnx")
    rows, _ = games.sample(1000, seed)
    expected = _predicted(choice, model, rows)
    with _named(choice, "cannot be written as a graph"):
        written: object = model.to_onnx()
    if not isinstance(written, bytes):
        kind = type(written).__name__
        raise FitError(f"component {choice.name}: to_onnx returns {kind}; expected bytes, as of SerializeToString()")
    try:
        content = checked_graph(written)
        graph = OnnxGraph(content)
        GraphComponent(choice.name, graph, (1.0, 1.0)).check(golden_corrections(graph))
        parity = float(np.abs(graph.corrections(rows) - expected).max())
    except ValueError as error:
        raise FitError(f"component {choice.name} is refused: {error}") from error
    if not parity <= PARITY_TOLERANCE:
        raise FitError(
            f"the graph of component {choice.name} differs from the component by {parity:.3g} points; expected at most "
            f"{PARITY_TOLERANCE:g}: have predict compute what the graph does, in float32, and change no rows"
        )
    return content, graph, parity


def _predicted(choice: ComponentChoice, model: FittedComponent, rows: Singles) -> Floats:
    with _named(choice, "cannot predict"):
        corrections = np.asarray(model.predict(rows.copy()), dtype=np.float64)
    if corrections.shape != (len(rows), len(HORIZONS)):
        expected = f"expected {(len(rows), len(HORIZONS))}"
        raise FitError(f"component {choice.name}: predict returns the shape {corrections.shape}; {expected}")
    wrong = np.flatnonzero(~np.isfinite(corrections).all(axis=1))
    if len(wrong):
        row = rows[wrong[0]]
        first = f"first after minute {row[MINUTE]:.0f} at a lead of {row[-1]:+.0f}"
        raise FitError(f"component {choice.name}: predict returns no finite numbers for {len(wrong)} rows, {first}")
    return corrections
