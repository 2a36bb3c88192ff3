"""LSTM inference with ONNX Runtime; the trainer fits the network and exports the graph.

The LSTM reads a game minute by minute and predicts after each minute the residuals of the linear models. Its output
after minute k depends only on the first k minutes: one graph handles patterns of any length, and one run gives the
output after every minute.
"""

from __future__ import annotations

import os

# ONNX Runtime reads this on import. From 1.29 on it otherwise sends telemetry from background threads and keeps a
# database for it in the user's home directory, shared by all processes.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from dejavu_models.arrays import Floats, Singles
from dejavu_models.point import features
from dejavu_models.types import HORIZONS

INPUT, OUTPUT = "steps", "residuals"
"""Tensor names of the graph: (n, minutes, channels) float32 → (n, minutes, 2 horizons) float32, in points. The graph
includes the normalisation."""


class Lstm:
    """Predicts the residuals of the linear models; thread-safe.

    Args:
        graph: the ONNX graph.

    Raises:
        ValueError: if the graph cannot be loaded or has other inputs or outputs.
    """

    def __init__(self, graph: bytes) -> None:
        options = ort.SessionOptions()
        # Many workers share the machine: threads per call would only compete for cores.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        try:
            self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the exception classes are private to the extension module
            raise ValueError(f"not an ONNX graph that can be loaded: {error}") from error
        sizes = {node.name: node.shape[2:] for node in (*self._session.get_inputs(), *self._session.get_outputs())}
        if sizes != {INPUT: [features.STEP_CHANNELS], OUTPUT: [len(HORIZONS)]}:
            shapes = {node.name: node.shape for node in (*self._session.get_inputs(), *self._session.get_outputs())}
            raise ValueError(f"the graph's inputs and outputs are {shapes}")
        # The public method first asks the session about graphs of GPUs, which takes longer than a step of the LSTM.
        self._run = vars(self._session).get("_sess", self._session).run

    def residuals(self, patterns: Floats, margins: Floats) -> Floats:
        """Predicts corrections to the linear models' increments after each minute.

        Args:
            patterns: (n, minutes), in points; padding after a game's last known minute does not affect the output of
                that minute or earlier ones.
            margins: (n,), expected final differentials before the game, in points; NaN if unknown.

        Returns:
            (n, minutes, 2), in points, by horizon; meaningless for a horizon that has passed. A row's values depend on
            the batch by less than 1e-4 points, because the summation order depends on the batch size.
        """
        return self.run(features.minute_steps(patterns, margins)).astype(float)

    def run(self, steps: Singles) -> Singles:
        """Predicts corrections to the linear models' increments from `features.minute_steps`; see `residuals`.

        Args:
            steps: (n, minutes, 5).

        Returns:
            (n, minutes, 2), in points, by horizon.
        """
        (residuals,) = self._run([OUTPUT], {INPUT: steps}, None)
        return residuals  # type: ignore[no-any-return]  # onnxruntime is untyped
