"""The LSTM, as ONNX Runtime serves it; the trainer fits it and writes the graph.

It reads a game minute by minute and says after each what should be added to the linear models. What it says after
minute k depends on the first k minutes only, so that one graph reads any pattern, and its whole course in one run.
"""

from __future__ import annotations

import os

# It reads this when it is loaded. From 1.29 on it would else send telemetry, from threads of its own, and keep a
# database for it in the user's home, which all processes share.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from dejavu_models.arrays import Floats
from dejavu_models.point import features
from dejavu_models.types import HORIZONS

INPUT, OUTPUT = "steps", "residuals"
"""Names in the graph: (n, minutes, channels) float32 → (n, minutes, 2 horizons) float32, in points. It normalises
within itself."""


class Lstm:
    """Forecasts what the linear models leave; safe to call from several threads.

    Args:
        graph: the ONNX graph.

    Raises:
        ValueError: if it is not a graph of this form.
    """

    def __init__(self, graph: bytes) -> None:
        options = ort.SessionOptions()
        # A worker is one of many on the machine: threads of one call would only fight those of the next.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        try:
            self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exception classes are private to its extension module
            raise ValueError(f"not an ONNX graph that can be loaded: {error}") from error
        sizes = {node.name: node.shape[2:] for node in (*self._session.get_inputs(), *self._session.get_outputs())}
        if sizes != {INPUT: [features.STEP_CHANNELS], OUTPUT: [len(HORIZONS)]}:
            shapes = {node.name: node.shape for node in (*self._session.get_inputs(), *self._session.get_outputs())}
            raise ValueError(f"the graph's inputs and outputs are {shapes}")

    def residuals(self, patterns: Floats, margins: Floats) -> Floats:
        """What should be added to the linear models' increments after each minute.

        Args:
            patterns: (n, minutes), in points; what stands after a game's last known minute is read, but has no
                influence on what is said after that minute or an earlier one.
            margins: (n,), expected final differentials before the game, in points; NaN where unknown.

        Returns:
            (n, minutes, 2), in points, by horizon; without meaning for a horizon that has passed. A row's values depend
            on its companions by less than 1e-4 points: with their number, the order changes in which products are
            summed.
        """
        (residuals,) = self._session.run([OUTPUT], {INPUT: features.minute_steps(patterns, margins)})
        return residuals.astype(float)  # type: ignore[no-any-return]  # onnxruntime is untyped
