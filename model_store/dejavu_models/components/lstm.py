"""LSTM inference by the compiled models; the trainer fits the network with torch and stores its weights.

The LSTM reads a game minute by minute. After each minute its last layer, which also knows the live inputs, gives a mean
and a scale for each horizon: the distribution of the linear models, moved by the mean and stretched by the scale. Its
output after minute k depends only on the first k minutes: one network handles patterns of any length, and one run gives
the output after every minute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from dejavu_models.arrays import Floats, Singles, from_npz, to_npz
from dejavu_models.components import features
from dejavu_models.native import native
from dejavu_models.types import HORIZONS, MAX_SLOTS

MAX_NETWORKS: Final = 16
MAX_UNITS: Final = 256

MAX_WEIGHT: Final = 1e6
"""Largest absolute value of a weight, so that no sum of products overflows."""

MAX_MEAN: Final = 3.0
"""Bound of the mean, in scales of the linear models' distribution."""

MAX_LOG_SCALE: Final = 1.0
"""Bound of the logarithm of the scale."""

OUTPUTS: Final = 2 * len(HORIZONS)
"""Number of outputs: the means by horizon, then the logarithms of the scales."""

MIN_SCALE: Final = 1e-3
"""Smallest number that inputs are divided by; the trainer's is 0.1."""


class NetworkWeights(NamedTuple):
    """Weights of one network; h is the number of its units, gates are in the order input, output, forget, cell.

    Attributes:
        scale: (channels,), divides the inputs.
        input: (4 h, channels).
        recurrent: (4 h, h).
        bias: (4 h,).
        head: (h + LIVE_CHANNELS, OUTPUTS).
        head_bias: (OUTPUTS,).
        spreads: (47 minutes, 2 horizons), multiplies the means.
    """

    scale: Singles
    input: Singles
    recurrent: Singles
    bias: Singles
    head: Singles
    head_bias: Singles
    spreads: Singles


def weights_to_bytes(networks: Sequence[NetworkWeights], mean_totals: Floats) -> bytes:
    """Serialize the weights of networks of one size, and mean total points by minutes 0 to 47, to a .npz file."""
    stacked = {name: np.stack([getattr(each, name) for each in networks]) for name in NetworkWeights._fields}
    return to_npz(mean_totals=mean_totals, **stacked)


def weights_from_bytes(content: bytes) -> tuple[list[NetworkWeights], Floats]:
    """Deserialize the output of `weights_to_bytes`.

    Raises:
        ValueError, KeyError: if the content is invalid; the message names the array.
    """
    arrays = from_npz(content)
    mean_totals = arrays.pop("mean_totals")
    if mean_totals.shape != (MAX_SLOTS + 1,) or not (np.abs(mean_totals) <= MAX_WEIGHT).all():
        raise ValueError(f"mean_totals has the shape {mean_totals.shape}; expected one for each minute 0 to 47")
    count, units = arrays["recurrent"].shape[::2] if arrays["recurrent"].ndim == 3 else (0, 0)
    if not (1 <= count <= MAX_NETWORKS and 1 <= units <= MAX_UNITS):
        raise ValueError(f"recurrent has the shape {arrays['recurrent'].shape}; expected up to {MAX_NETWORKS} networks")
    shapes = {
        "scale": (features.STEP_CHANNELS,),
        "input": (4 * units, features.STEP_CHANNELS),
        "recurrent": (4 * units, units),
        "bias": (4 * units,),
        "head": (units + features.LIVE_CHANNELS, OUTPUTS),
        "head_bias": (OUTPUTS,),
        "spreads": (MAX_SLOTS, len(HORIZONS)),
    }
    if unknown := arrays.keys() - shapes.keys():
        raise ValueError(f"{min(unknown)} is unknown; expected {', '.join(shapes)}")
    for name, shape in shapes.items():
        values = arrays[name]
        if values.shape != (count, *shape) or values.dtype != np.float32:
            raise ValueError(f"{name} is {values.dtype} of shape {values.shape}; expected float32 of {(count, *shape)}")
        if not (np.abs(values) <= MAX_WEIGHT).all():  # NaN fails too
            raise ValueError(f"{name} must be within ±{MAX_WEIGHT:g}")
    if (np.abs(arrays["scale"]) < MIN_SCALE).any():
        raise ValueError(f"scale must be at least {MIN_SCALE:g}")
    networks = [NetworkWeights(**{name: arrays[name][number] for name in shapes}) for number in range(count)]
    return networks, mean_totals.astype(np.float64)


class LstmOutputs(NamedTuple):
    """Outputs for n games after each minute, (n, minutes, 2 horizons); meaningless for a horizon that has passed.

    Attributes:
        means: in scales of the linear models' distribution, within ±MAX_MEAN.
        log_scales: logarithms of the scales relative to that of the distribution, within ±MAX_LOG_SCALE.
    """

    means: Floats
    log_scales: Floats


class Lstm:
    """Moves and stretches the distribution of the linear models; thread-safe.

    Args:
        content: the weights, see `weights_to_bytes`.

    Attributes:
        networks: the networks of the compiled models whose outputs are averaged.
        units: number of units of each.
        mean_totals: (48,), mean total points after minutes 0 to 47.

    Raises:
        ValueError, KeyError: if the content is invalid.
    """

    def __init__(self, content: bytes) -> None:
        weights, self.mean_totals = weights_from_bytes(content)
        self.units = weights[0].recurrent.shape[1]
        self.networks: list[Any] = [native.LstmNetwork(**each._asdict()) for each in weights]
        self._run: Callable[[Singles, Singles], Singles] = native.Networks(self.networks).run

    def outputs(self, patterns: Floats, margins: Floats, live: Singles) -> LstmOutputs:
        """Return the outputs for games after each minute.

        Args:
            patterns: (n, minutes), in points; padding after a game's last known minute does not affect the output of
                that minute or earlier ones.
            margins: (n,), expected final differentials before the game, in points; NaN if unknown.
            live: (n, minutes, 5), see `features.live_features`.
        """
        outputs = self._run(features.minute_steps(patterns, margins), live).astype(float)
        means, log_scales = np.split(outputs, 2, axis=-1)
        return LstmOutputs(np.clip(means, -MAX_MEAN, MAX_MEAN), np.clip(log_scales, -MAX_LOG_SCALE, MAX_LOG_SCALE))
