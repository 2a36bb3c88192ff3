"""LSTM inference; the trainer fits the network and exports it as an ONNX graph.

The LSTM reads a game minute by minute and predicts after each minute the residuals of the linear models. Its output
after minute k depends only on the first k minutes: one graph handles patterns of any length, and one run gives the
output after every minute.

The compiled models run it where they were built and know the graph's form; else ONNX Runtime does, which takes several
times as long for one game: most of it goes into operators that compute shapes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from dejavu_models.arrays import Floats, Singles
from dejavu_models.native import native
from dejavu_models.point import features
from dejavu_models.point.lstm_graph import network_weights
from dejavu_models.types import HORIZONS

INPUT, OUTPUT = "steps", "residuals"
"""Tensor names of the graph: (n, minutes, channels) float32 → (n, minutes, 2 horizons) float32, in points. The graph
includes the normalisation."""


class Lstm:
    """Predicts the residuals of the linear models; thread-safe.

    Args:
        graph: the ONNX graph.
        compiled: whether the compiled models may run it.

    Attributes:
        networks: the networks of the compiled models whose mean is predicted; empty if ONNX Runtime runs the graph.

    Raises:
        ValueError: if the graph cannot be loaded or has other inputs or outputs.
    """

    def __init__(self, graph: bytes, *, compiled: bool = True) -> None:
        weights = network_weights(graph) if compiled and native is not None else None
        self.networks: list[Any] = [native.LstmNetwork(**each._asdict()) for each in weights or ()]
        self.run: Callable[[Singles], Singles] = (
            native.Networks(self.networks).run if self.networks else _onnx_runtime(graph)
        )
        """Predicts corrections from `features.minute_steps`, (n, minutes, 5) → (n, minutes, 2); see `residuals`."""

    def residuals(self, patterns: Floats, margins: Floats) -> Floats:
        """Predicts corrections to the linear models' increments after each minute.

        Args:
            patterns: (n, minutes), in points; padding after a game's last known minute does not affect the output of
                that minute or earlier ones.
            margins: (n,), expected final differentials before the game, in points; NaN if unknown.

        Returns:
            (n, minutes, 2), in points, by horizon; meaningless for a horizon that has passed. In ONNX Runtime a row's
            values depend on the batch by less than 1e-4 points, because the summation order depends on the batch size.
        """
        return self.run(features.minute_steps(patterns, margins)).astype(float)


def _onnx_runtime(graph: bytes) -> Callable[[Singles], Singles]:
    # Read by ONNX Runtime on import. From 1.29 on it otherwise sends telemetry from background threads and keeps a
    # database for it in the user's home directory, shared by all processes.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    options = ort.SessionOptions()
    # Many workers share the machine: threads per call would only compete for cores.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the exception classes are private to the extension module
        raise ValueError(f"not an ONNX graph that can be loaded: {error}") from error
    sizes = {node.name: node.shape[2:] for node in (*session.get_inputs(), *session.get_outputs())}
    if sizes != {INPUT: [features.STEP_CHANNELS], OUTPUT: [len(HORIZONS)]}:
        shapes = {node.name: node.shape for node in (*session.get_inputs(), *session.get_outputs())}
        raise ValueError(f"the graph's inputs and outputs are {shapes}")
    # The public method first asks the session about graphs of GPUs, which takes longer than a step of the LSTM.
    run = vars(session).get("_sess", session).run

    def residuals(steps: Singles) -> Singles:
        [found] = run([OUTPUT], {INPUT: steps}, None)
        return found  # type: ignore[no-any-return]  # onnxruntime is untyped

    return residuals
