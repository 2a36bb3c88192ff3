"""Output of LSTM networks by NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dejavu_models.arrays import Floats, Singles
from dejavu_models.components import features
from dejavu_models.components.lstm import Lstm, NetworkWeights, weights_from_bytes


class ReferenceLstm(Lstm):
    """Predicts like `Lstm`. The batch changes a row's values by less than 1e-4 points, by the rounding of sums.

    Args:
        content: the weights.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._weights = weights_from_bytes(content)

    def residuals(self, patterns: Floats, margins: Floats) -> Floats:
        """See `Lstm.residuals`."""
        return mean_outputs(self._weights, features.minute_steps(patterns, margins)).astype(float)


def mean_outputs(networks: Sequence[NetworkWeights], steps: Singles) -> Singles:
    """Compute the mean output of networks after each minute.

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
