"""LSTM inference; the trainer fits the network and exports it as an ONNX graph.

The LSTM reads a game minute by minute and predicts after each minute the residuals of the linear models. Its output
after minute k depends only on the first k minutes: one graph handles patterns of any length, and one run gives the
output after every minute.

No runtime runs the graph of a bundle: its weights are read (`lstm_graph`), and the compiled models compute with them,
or NumPy where those were not built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dejavu_models.arrays import Floats, Singles
from dejavu_models.native import native
from dejavu_models.point import features
from dejavu_models.point.lstm_graph import NetworkWeights, network_weights


class Lstm:
    """Predicts the residuals of the linear models; thread-safe.

    Args:
        graph: the ONNX graph.
        compiled: whether the compiled models may run it.

    Attributes:
        networks: the networks of the compiled models whose mean is predicted; empty if NumPy computes it.

    Raises:
        ValueError: if the graph is not of the form that the trainer exports.
    """

    def __init__(self, graph: bytes, *, compiled: bool = True) -> None:
        weights = network_weights(graph)
        self.networks: list[Any] = []
        self.run: Callable[[Singles], Singles] = lambda steps: mean_outputs(weights, steps)
        """Predicts corrections from `features.minute_steps`, (n, minutes, 5) → (n, minutes, 2); see `residuals`."""
        if compiled and native is not None:
            self.networks = [native.LstmNetwork(**each._asdict()) for each in weights]
            self.run = native.Networks(self.networks).run

    def residuals(self, patterns: Floats, margins: Floats) -> Floats:
        """Predicts corrections to the linear models' increments after each minute.

        Args:
            patterns: (n, minutes), in points; padding after a game's last known minute does not affect the output of
                that minute or earlier ones.
            margins: (n,), expected final differentials before the game, in points; NaN if unknown.

        Returns:
            (n, minutes, 2), in points, by horizon; meaningless for a horizon that has passed. In NumPy a row's values
            depend on the batch by less than 1e-4 points, because the summation order depends on the batch size.
        """
        return self.run(features.minute_steps(patterns, margins)).astype(float)


def mean_outputs(networks: Sequence[NetworkWeights], steps: Singles) -> Singles:
    """Computes the mean output of networks after each minute.

    Args:
        networks: at least one.
        steps: (n, minutes, channels), `features.minute_steps`; at most 47 minutes.

    Returns:
        (n, minutes, 2), in points, by horizon.
    """
    result: Singles = np.mean([_outputs(each, steps) for each in networks], axis=0, dtype=np.float32)
    return result


def _outputs(network: NetworkWeights, steps: Singles) -> Singles:
    games, minutes = steps.shape[:2]
    of_inputs = (steps / network.scale) @ network.input.T + network.bias
    state = cell = np.zeros((games, network.head.shape[0]), dtype=np.float32)
    states = np.empty((games, minutes, network.head.shape[0]), dtype=np.float32)
    for minute in range(minutes):
        gates = of_inputs[:, minute] + state @ network.recurrent.T
        let_in, let_out, keep, new = np.split(gates, 4, axis=1)
        cell = _sigmoid(keep) * cell + _sigmoid(let_in) * np.tanh(new)
        state = states[:, minute] = _sigmoid(let_out) * np.tanh(cell)
    return (states @ network.head + network.head_bias) * network.spreads[:minutes]


def _sigmoid(values: Singles) -> Singles:
    result: Singles = np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * values))  # which does not overflow
    return result
