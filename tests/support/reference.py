"""Vectorised NumPy models that the compiled ones are compared with: LSTM networks, and similar games."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dejavu_models.arrays import Floats, Integers, Singles
from dejavu_models.components import features
from dejavu_models.components.dejavu import Dejavu
from dejavu_models.components.features import LIVE_COLUMNS, Rows
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


def members_of(dejavu: Dejavu, minute: int, groups: Integers) -> Integers:
    """Return the images in groups, (k,), group by group."""
    parts = [dejavu.members[minute - 1, dejavu.starts[each] : dejavu.starts[each + 1]] for each in groups.tolist()]
    return np.concatenate(parts).astype(np.int64)


def past_rows(dejavu: Dejavu, minute: int, games: Integers) -> Rows:
    """Return past games as rows after a minute."""
    live = np.full((len(games), len(LIVE_COLUMNS)), np.nan)
    totals = dejavu.games.totals[games, minute - 1].astype(np.float64)
    live[:, 0] = np.where(totals < 0, np.nan, totals)
    patterns = dejavu.games.differentials[games, :minute].astype(np.float64)
    return Rows(patterns, dejavu.games.margins[games].astype(np.float64), live)
