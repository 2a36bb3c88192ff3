"""LSTM inference; the trainer fits the network and exports it as an ONNX graph.

The LSTM reads a game minute by minute and predicts after each minute the residuals of the linear models. Its output
after minute k depends only on the first k minutes: one graph handles patterns of any length, and one run gives the
output after every minute.

No runtime executes a bundle's graph: its weights are read (`lstm_graph`), and the compiled models compute with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dejavu_models.arrays import Floats, Singles
from dejavu_models.native import native
from dejavu_models.point import features
from dejavu_models.point.lstm_graph import network_weights


class Lstm:
    """Predicts the residuals of the linear models; thread-safe.

    Args:
        graph: the ONNX graph.

    Attributes:
        networks: the networks of the compiled models whose mean is predicted.

    Raises:
        ValueError: if the graph is not of the form that the trainer exports.
    """

    def __init__(self, graph: bytes) -> None:
        self.networks: list[Any] = [native.LstmNetwork(**each._asdict()) for each in network_weights(graph)]
        self._run: Callable[[Singles], Singles] = native.Networks(self.networks).run

    def residuals(self, patterns: Floats, margins: Floats) -> Floats:
        """Predict corrections to the linear models' increments after each minute.

        Args:
            patterns: (n, minutes), in points; padding after a game's last known minute does not affect the output of
                that minute or earlier ones.
            margins: (n,), expected final differentials before the game, in points; NaN if unknown.

        Returns:
            (n, minutes, 2), in points, by horizon; meaningless for a horizon that has passed.
        """
        return self._run(features.minute_steps(patterns, margins)).astype(float)
