"""The LSTM, as ONNX Runtime serves it; the trainer fits it and writes the graph."""

from __future__ import annotations

import os

# It reads this when it is loaded. From 1.29 on it would else send telemetry, from threads of its own, and keep a
# database for it in the user's home, which all processes share.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from dejavu_models import features
from dejavu_models.arrays import Floats

INPUT, OUTPUT = "steps", "increment"
"""Names in the graph: (n, minutes, 2) float32 in points → (n,) float32 in points. It normalises within itself."""


class Lstm:
    """Forecasts increments from patterns; safe to call from several threads.

    Args:
        graph: the ONNX graph.
        minutes: the number of slots that it was made for.

    Raises:
        ValueError: if it is not a graph of this form.
    """

    def __init__(self, graph: bytes, minutes: int) -> None:
        options = ort.SessionOptions()
        # A worker is one of many on the machine: threads of one call would only fight those of the next.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        try:
            self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exception classes are private to its extension module
            raise ValueError(f"not an ONNX graph that can be loaded: {error}") from error
        shapes = {node.name: node.shape[1:] for node in (*self._session.get_inputs(), *self._session.get_outputs())}
        if shapes != {INPUT: [minutes, features.STEP_CHANNELS], OUTPUT: []}:
            raise ValueError(f"the graph's inputs and outputs are {shapes}")

    def predict(self, patterns: Floats) -> Floats:
        """Increments from the last slot to the horizon, in points.

        Args:
            patterns: (n, minutes), in points.

        Returns:
            (n,). A row's value depends on its companions by less than 1e-4 points: with their number, the order
            changes in which products are summed.
        """
        (increments,) = self._session.run([OUTPUT], {INPUT: features.minute_steps(patterns)})
        return increments.astype(float)  # type: ignore[no-any-return]  # onnxruntime is untyped
