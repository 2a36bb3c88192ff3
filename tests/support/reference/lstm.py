"""Outputs of LSTM networks by NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dejavu_models.arrays import Floats, Singles
from dejavu_models.components import features
from dejavu_models.components.lstm import Lstm, LstmOutputs
from dejavu_models.types import HORIZONS


class ReferenceLstm(Lstm):
    """Predicts like `Lstm`. The batch changes a row's values by less than 1e-4, by the rounding of sums."""

    def outputs(self, patterns: Floats, margins: Floats, live: Singles) -> LstmOutputs:
        """See `Lstm.outputs`."""
        return LstmOutputs.of(mean_outputs(self.weights, features.minute_steps(patterns, margins), live))


def mean_outputs(weights: Mapping[str, Singles], steps: Singles, live: Singles) -> Singles:
    """Compute the mean output of networks after each minute, without bounds.

    Args:
        weights: see `Lstm`.
        steps: (n, minutes, channels), `features.minute_steps`; at most 47 minutes.
        live: (n, minutes, 5), `features.live_features`.

    Returns:
        (n, minutes, 4): means and logarithms of scales, each by horizon.
    """
    result: Singles = np.mean(
        [_outputs(dict(zip(weights, each, strict=True)), steps, live) for each in zip(*weights.values(), strict=True)],
        axis=0,
        dtype=np.float32,
    )
    return result


def _outputs(network: Mapping[str, Singles], steps: Singles, live: Singles) -> Singles:
    games, minutes = steps.shape[:2]
    units = network["recurrent"].shape[1]
    of_inputs = (steps / network["scale"]) @ network["input"].T + network["bias"]
    state = cell = np.zeros((games, units), dtype=np.float32)
    states = np.empty((games, minutes, units), dtype=np.float32)
    for minute in range(minutes):
        gates = of_inputs[:, minute] + state @ network["recurrent"].T
        let_in, let_out, keep, new = np.split(gates, 4, axis=1)
        cell = _sigmoid(keep) * cell + _sigmoid(let_in) * np.tanh(new)
        state = states[:, minute] = _sigmoid(let_out) * np.tanh(cell)
    result: Singles = np.concatenate([states, live], axis=-1) @ network["head"] + network["head_bias"]
    result[..., : len(HORIZONS)] *= network["spreads"][:minutes]
    return result


def _sigmoid(values: Singles) -> Singles:
    result: Singles = np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * values))  # which does not overflow
    return result
