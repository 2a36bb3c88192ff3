"""LSTM inference by the compiled models; `lstm_training` fits the networks with torch.

The LSTM reads a game minute by minute. After each minute its last layer, which also knows the live inputs, gives a mean
and a scale for each horizon: the distribution of the linear models, moved by the mean and stretched by the scale. Its
output after minute k depends only on the first k minutes: one network handles patterns of any length, and one run gives
the output after every minute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats, Singles, check_array
from dejavu_models.components import features
from dejavu_models.components.component import Advance, Component, LstmConfig, TrainingGames, ignore
from dejavu_models.components.features import OUTPUTS, Played, Rows
from dejavu_models.errors import FitError
from dejavu_models.native import native
from dejavu_models.types import HORIZONS, MAX_SLOTS
from dejavu_models.uncertainty.lattice.margin_model import Base, Distributions

MAX_NETWORKS: Final = 16
MAX_UNITS: Final = 256

MAX_WEIGHT: Final = 1e6
"""Largest absolute value of a weight, so that no sum of products overflows."""

MAX_MEAN: Final = 3.0
"""Bound of the mean, in scales of the linear models' distribution."""

MAX_LOG_SCALE: Final = 1.0
"""Bound of the logarithm of the scale."""

MIN_SCALE: Final = 1e-3
"""Smallest number that inputs are divided by; the trainer's is 0.1."""

PARITY_TOLERANCE: Final = 1e-4
"""Largest accepted difference of an output between the served network and the trained one."""


class LstmOutputs(NamedTuple):
    """Outputs for n games after each minute, (n, minutes, 2 horizons); meaningless for a horizon that has passed.

    Attributes:
        means: in scales of the linear models' distribution, within ±MAX_MEAN.
        log_scales: logarithms of the scales relative to that of the distribution, within ±MAX_LOG_SCALE.
    """

    means: Floats
    log_scales: Floats

    @classmethod
    def of(cls, outputs: Singles) -> Self:
        """Return the outputs of networks, (n, minutes, OUTPUTS), within their bounds."""
        means, log_scales = np.split(outputs.astype(float), 2, axis=-1)
        return cls(np.clip(means, -MAX_MEAN, MAX_MEAN), np.clip(log_scales, -MAX_LOG_SCALE, MAX_LOG_SCALE))


class Lstm(Component):
    """Moves and stretches the distribution of the linear models; thread-safe.

    Args:
        weights: by name, those of n networks of h units, whose outputs are averaged; float32, with the gates in the
            order input, output, forget, cell: scale (n, channels) divides the inputs; input (n, 4 h, channels),
            recurrent (n, 4 h, h) and bias (n, 4 h) are of the layer, head (n, h + LIVE_CHANNELS, OUTPUTS) and
            head_bias (n, OUTPUTS) of the head; spreads (n, 47 minutes, 2 horizons) multiplies the means.
        mean_totals: (48,), mean total points after minutes 0 to 47.

    Raises:
        ValueError: if an array has another form, or a number is out of its bounds; the message names the array.

    Attributes:
        networks: the networks in the compiled models.
        units: number of units of each.
        mean_totals: as given.
    """

    name = "lstm"
    inputs = features.LIVE_COLUMNS

    def __init__(self, weights: Mapping[str, Singles], mean_totals: Floats) -> None:
        recurrent = weights["recurrent"]
        count, units = recurrent.shape[::2] if recurrent.ndim == 3 else (0, 0)
        if not (1 <= count <= MAX_NETWORKS and 1 <= units <= MAX_UNITS):
            raise ValueError(f"recurrent has the shape {recurrent.shape}; expected up to {MAX_NETWORKS} networks")
        shapes = {
            "scale": (features.STEP_CHANNELS,),
            "input": (4 * units, features.STEP_CHANNELS),
            "recurrent": (4 * units, units),
            "bias": (4 * units,),
            "head": (units + features.LIVE_CHANNELS, OUTPUTS),
            "head_bias": (OUTPUTS,),
            "spreads": (MAX_SLOTS, len(HORIZONS)),
        }
        if unknown := weights.keys() - shapes:
            raise ValueError(f"{min(unknown)} is unknown; expected {', '.join(shapes)}")
        for name, shape in shapes.items():
            check_array(name, weights[name], np.float32, (count, *shape), -MAX_WEIGHT, MAX_WEIGHT)
        if (np.abs(weights["scale"]) < MIN_SCALE).any():
            raise ValueError(f"scale must be at least {MIN_SCALE:g}")
        check_array("mean_totals", mean_totals, np.floating, (MAX_SLOTS + 1,), -MAX_WEIGHT, MAX_WEIGHT)
        self.weights, self.mean_totals, self.units = weights, mean_totals.astype(np.float64), units
        self.networks: list[Any] = [
            native.LstmNetwork(**{name: weights[name][number] for name in shapes}) for number in range(count)
        ]
        self._run: Callable[[Singles, Singles], Singles] = native.Networks(self.networks).run

    @classmethod
    def fit(
        cls, games: TrainingGames, seed: int = 0, settings: LstmConfig | None = None, advance: Advance = ignore
    ) -> Self:
        """Fit the networks.

        Args:
            games: the games.
            seed: random seed; the same seed and games give the same weights on the same machine.
            settings: by default those of a recipe.
            advance: called with 1 after each epoch of each network, settings.steps times in all.

        Raises:
            FitError: if the loss diverges, or the served outputs differ from those of torch.
        """
        from dejavu_models.components.lstm_training import train  # noqa: PLC0415 - torch takes seconds to load

        mean_totals = features.references_of(games.levels, games.margins, games.live).mean_totals
        live = features.live_features(games.live, mean_totals[1:])
        trained, expected = train(games, live, settings or LstmConfig(), seed, advance)
        result = cls({name: np.stack([each[name] for each in trained]) for name in trained[0]}, mean_totals)
        right = LstmOutputs.of(expected)
        for count, minutes in ((len(games), MAX_SLOTS), (1, 1), (min(len(games), 50), 18)):  # of several sizes
            served = result.outputs(games.levels[:count, :minutes], games.margins[:count], live[:count, :minutes])
            for one, other in zip(served, right, strict=True):
                parity = np.abs(one - other[:count, :minutes]).max()
                if not parity <= PARITY_TOLERANCE:
                    raise FitError(f"the outputs of the served LSTM differ from those of the trained one by {parity}")
        return result

    def outputs(self, patterns: Floats, margins: Floats, live: Singles) -> LstmOutputs:
        """Return the outputs for games after each minute.

        Args:
            patterns: (n, minutes), in points; padding after a game's last known minute does not affect the output of
                that minute or earlier ones.
            margins: (n,), expected final differentials before the game, in points; NaN if unknown.
            live: (n, minutes, 5), see `features.live_features`.
        """
        return LstmOutputs.of(self._run(features.minute_steps(patterns, margins), live))

    def distribution(self, rows: Rows, base: Base) -> Distributions:
        """Return the linear models' distribution, moved and stretched."""
        played = rows.played
        if played is None:
            live = np.full((*rows.patterns.shape, features.LIVE_CHANNELS), np.nan)
            live[:, -1] = rows.live
            played = Played(rows.patterns, rows.margins, live)
        outputs = played.once(self, None, lambda: self._outputs(played))
        case = rows.places, rows.minute - 1, HORIZONS.index(base.horizon)
        moved, scales = base.units * outputs.means[case], np.exp(outputs.log_scales[case])
        below = base.shares((base.distances - moved[:, None]) / scales[:, None])
        return Distributions(base.centers + moved, below)

    def _outputs(self, played: Played) -> LstmOutputs:
        """Return the outputs for games whose margins may change from minute to minute."""
        levels, margins = played.levels, played.margins
        live = features.live_features(played.live, self.mean_totals[1 : levels.shape[1] + 1])
        result = LstmOutputs(*(np.empty((*levels.shape, len(HORIZONS))) for _ in LstmOutputs._fields))
        first = 0
        for end in range(1, levels.shape[1] + 1):  # minutes with the same margins need one run
            if end == levels.shape[1] or not np.array_equal(margins[:, first], margins[:, end], equal_nan=True):
                made = self.outputs(levels[:, :end], margins[:, first], live[:, :end])
                for whole, part in zip(result, made, strict=True):
                    whole[:, first:end] = part[:, first:end]
                first = end
        return result

    def save(self) -> dict[str, NDArray[Any]]:
        """Return the weights of the networks, and the mean total points."""
        return {"mean_totals": self.mean_totals, **self.weights}

    @classmethod
    def load(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """Return the LSTM that `save` returned these arrays of.

        Raises:
            ValueError, KeyError: if they are invalid; the message names the array.
        """
        return cls({name: each for name, each in arrays.items() if name != "mean_totals"}, arrays["mean_totals"])
