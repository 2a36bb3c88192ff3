"""Components that plug in: ONNX graphs that correct the increments of the linear models, run by ONNX Runtime.

A correction is multiplied by the component's weight, which the trainer learned, so the weighted prediction is a second
opinion like those of Dejavu and the LSTM; the point forecast does not depend on it.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np

from dejavu_common.installing import install
from dejavu_models.arrays import Floats, Singles
from dejavu_models.errors import ComponentsRefused
from dejavu_models.point.rows import INPUT, MAX_CORRECTION, checked_rows, rows_of
from dejavu_models.types import HORIZONS, ComponentPrediction

GOLDEN_ROWS: Final = slice(None, None, 23)
"""The rows of `checked_rows` whose corrections are kept as golden ones: thirteen, of early and late minutes."""

GOLDEN_TOLERANCE: Final = 1e-3
"""Tolerance of golden corrections, in points: kernels for other CPUs add float32 in another order."""

MAX_SECONDS: Final = 0.005
"""Maximum CPU time of a correction of one row, in seconds; the examples take up to 0.0002. Other rows may take up to a
hundred times as long, if their numbers become denormal. (The runtime's option to treat these as 0 would do so for
everything that the thread computes afterwards.)"""

CHUNK: Final = 1024
"""Maximum number of rows in one call of the runtime, which bounds its memory."""


def check_runtime(source: object) -> None:
    """Check that ONNX Runtime is installed.

    Raises:
        ComponentsRefused: if not; the message names the bundle and the extra.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise ComponentsRefused(
            f"{source}: its components need onnxruntime, which is not installed: {install('components')}"
        )


@cache
def libraries() -> tuple[Any, Callable[[bytes], bytes]]:
    """Return ONNX Runtime, its log off, and `checked_graph`; loaded on first use, since few servers need them."""
    import onnxruntime  # noqa: PLC0415

    from dejavu_models.point.onnx_graph import checked_graph  # noqa: PLC0415

    onnxruntime.set_default_logger_severity(4)
    return onnxruntime, checked_graph


class OnnxGraph:
    """A checked ONNX graph; thread-safe.

    Args:
        content: the graph.

    Raises:
        ValueError: if a component must not have it, or the runtime refuses it.
    """

    def __init__(self, content: bytes) -> None:
        runtime, checked_graph = libraries()
        checked = checked_graph(content)
        options = runtime.SessionOptions()
        # Threads of its own would not survive a fork; an arena would keep the largest memory of any call.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.log_severity_level = 4
        try:
            # Its fallback would try the same again, and print to stdout.
            session = runtime.InferenceSession(checked, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        except Exception as error:  # the runtime has errors of several types
            raise ValueError(f"ONNX Runtime refuses the graph: {_line(error)}") from None
        self._outputs = [each.name for each in session.get_outputs()]
        self._run: Callable[..., list[Any]] = session.run

    def corrections(self, rows: Singles) -> Floats:
        """Return the corrections of rows, (n, 2 horizons), in points: any finite or infinite numbers, or NaN.

        Raises:
            ValueError: if the runtime fails, or the result has another type or shape.
        """
        parts = [self._corrections(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK)]
        return np.concatenate(parts) if parts else np.empty((0, len(HORIZONS)))

    def _corrections(self, rows: Singles) -> Floats:
        try:
            [result] = self._run(self._outputs, {INPUT: rows})
        except Exception as error:
            raise ValueError(f"ONNX Runtime fails: {_line(error)}") from None
        if not isinstance(result, np.ndarray) or result.dtype != np.float32 or result.shape != (len(rows), 2):
            shape = getattr(result, "shape", "no array")
            raise ValueError(f"the result for {len(rows)} rows has the shape {shape}; expected ({len(rows)}, 2)")
        return result.astype(np.float64)


@dataclass(frozen=True, slots=True)
class GraphComponent:
    """A component that plugs in.

    Attributes:
        name: its name.
        graph: predicts corrections to the increments of the linear models.
        weight: by horizon, in [0, 1]: factor of the corrections.
    """

    name: str
    graph: OnnxGraph
    weight: tuple[float, ...]

    def corrections(self, patterns: Floats, margins: Floats, increments: Floats) -> Floats:
        """Return the weighted corrections of games whose patterns have the same length, (n, 2), in points.

        The arguments are those of `rows_of`.

        Raises:
            ValueError: if the runtime fails.
        """
        return self.graph.corrections(rows_of(patterns, margins, increments)) * self.weight

    def check(self, golden: Sequence[Sequence[float]]) -> None:
        """Check the time and the numbers of the corrections of `checked_rows`, one by one, and the golden ones.

        Raises:
            ValueError: if it is too slow, or a correction is not finite, too large, or not the golden one.
        """
        rows = checked_rows()
        one_by_one = [rows[row : row + 1] for row in range(len(rows))]
        for row in one_by_one:
            # A busy machine may slow one call down: only a row that is slow every time is refused.
            if all((seconds := _seconds(self.graph, row)) > MAX_SECONDS for _ in range(3)):
                raise ValueError(f"a row takes {seconds:.2g} s; expected at most {MAX_SECONDS:g} s: make it smaller")
        found = np.concatenate([self.graph.corrections(row) for row in one_by_one])
        if not np.isfinite(found).all():
            raise ValueError("a correction is not a finite number")
        if (largest := np.abs(found).max()) > MAX_CORRECTION:
            raise ValueError(f"a correction has {largest:.0f} points; expected at most {MAX_CORRECTION:g}: clip it")
        given = np.array(golden)
        if given.shape != found[GOLDEN_ROWS].shape or np.abs(found[GOLDEN_ROWS] - given).max() > GOLDEN_TOLERANCE:
            raise ValueError("its corrections are not the golden ones of the manifest")


def golden_corrections(graph: OnnxGraph) -> tuple[tuple[float, ...], ...]:
    """Return the corrections of GOLDEN_ROWS."""
    return tuple(tuple(each) for each in graph.corrections(checked_rows()[GOLDEN_ROWS]).tolist())


Failed = Callable[[str, str], None]
"""Called with the name of a component that failed and the reason."""


def ignore_failure(_component: str, _reason: str) -> None:
    """Ignore that a component failed."""


@dataclass(frozen=True, slots=True)
class GraphGame:
    """A game, as the components that plug into a bundle see it.

    Attributes:
        components: the components.
        pattern: pattern of the game, in points.
        margin: expected final differential before the game, in points; None if unknown.
    """

    components: tuple[GraphComponent, ...]
    pattern: Sequence[float]
    margin: float | None

    def predictions(
        self, increments: Sequence[float], horizon: int, point: float, failed: Failed
    ) -> tuple[ComponentPrediction, ...]:
        """Return the predictions of the components.

        Args:
            increments: increments that the linear models predict, by horizon, in points.
            horizon: index of the horizon in HORIZONS.
            point: issued point forecast, in points, to which the corrections are added.
            failed: called for a component that fails or gives no usable number; its prediction is left out.
        """
        predictions = []
        margin = np.nan if self.margin is None else self.margin
        games = np.array([self.pattern], dtype=float), np.array([margin]), np.array([increments])
        for each in self.components:
            try:
                correction = float(each.corrections(*games)[0, horizon])
            except ValueError as error:
                failed(each.name, str(error))
                continue
            if abs(correction) <= MAX_CORRECTION:
                predictions.append(ComponentPrediction(each.name, point + correction))
            else:  # NaN too
                failed(each.name, f"a correction of {correction:g} points")
        return tuple(predictions)


def _seconds(graph: OnnxGraph, rows: Singles) -> float:
    begun = time.process_time()
    graph.corrections(rows)
    return time.process_time() - begun


def _line(error: Exception) -> str:
    """Return the first line of an error of the runtime, without control characters and not too long."""
    text = (str(error).splitlines() or [type(error).__name__])[0]
    return "".join(each for each in text if each.isprintable())[:300]
