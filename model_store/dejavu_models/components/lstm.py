"""LSTM inference by the compiled models; the trainer fits the network with torch and stores its weights.

The LSTM reads a game minute by minute and predicts after each minute the residuals of the linear models. Its output
after minute k depends only on the first k minutes: one network handles patterns of any length, and one run gives the
output after every minute.
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

MAX_CORRECTION: Final = 1000.0
"""Bound of the corrections of any game, in points, as of the residuals of an entry; those of a bundle are within 10."""

MIN_SCALE: Final = 1e-3
"""Smallest number that inputs are divided by; the trainer's is 0.1."""


class NetworkWeights(NamedTuple):
    """Weights of one network; h is the number of its units, gates are in the order input, output, forget, cell.

    Attributes:
        scale: (channels,), divides the inputs.
        input: (4 h, channels).
        recurrent: (4 h, h).
        bias: (4 h,).
        head: (h, 2 horizons).
        head_bias: (2 horizons,).
        spreads: (47 minutes, 2 horizons), multiplies the outputs, in points.
    """

    scale: Singles
    input: Singles
    recurrent: Singles
    bias: Singles
    head: Singles
    head_bias: Singles
    spreads: Singles


def weights_to_bytes(networks: Sequence[NetworkWeights]) -> bytes:
    """Serialize the weights of networks of one size to a .npz file."""
    return to_npz(**{name: np.stack([getattr(each, name) for each in networks]) for name in NetworkWeights._fields})


def weights_from_bytes(content: bytes) -> list[NetworkWeights]:
    """Deserialize the output of `weights_to_bytes`.

    Raises:
        ValueError, KeyError: if the content is invalid; the message names the array.
    """
    arrays = from_npz(content)
    count, units = arrays["head"].shape[:2] if arrays["head"].ndim == 3 else (0, 0)
    if not (1 <= count <= MAX_NETWORKS and 1 <= units <= MAX_UNITS):
        raise ValueError(f"head has the shape {arrays['head'].shape}; expected up to {MAX_NETWORKS} networks")
    shapes = {
        "scale": (features.STEP_CHANNELS,),
        "input": (4 * units, features.STEP_CHANNELS),
        "recurrent": (4 * units, units),
        "bias": (4 * units,),
        "head": (units, len(HORIZONS)),
        "head_bias": (len(HORIZONS),),
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
    # The outputs of units are within ±1, so this holds for every game.
    outputs = np.abs(arrays["head"]).sum(axis=1, dtype=np.float64) + np.abs(arrays["head_bias"])
    if (largest := (outputs[:, None] * np.abs(arrays["spreads"])).max()) > MAX_CORRECTION:
        raise ValueError(f"head and spreads give corrections of {largest:g} points, more than {MAX_CORRECTION:g}")
    return [NetworkWeights(**{name: arrays[name][number] for name in shapes}) for number in range(count)]


class Lstm:
    """Predicts the residuals of the linear models; thread-safe.

    Args:
        content: the weights, see `weights_to_bytes`.

    Attributes:
        networks: the networks of the compiled models whose mean is predicted.

    Raises:
        ValueError, KeyError: if the content is invalid.
    """

    def __init__(self, content: bytes) -> None:
        self.networks: list[Any] = [native.LstmNetwork(**each._asdict()) for each in weights_from_bytes(content)]
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
