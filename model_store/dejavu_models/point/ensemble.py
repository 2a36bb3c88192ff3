"""The models of a bundle that need no calibration, put together: what each forecasts for games at some minute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.point.dejavu import Dejavu, NeighborResult
from dejavu_models.point.linear import LinearModels
from dejavu_models.point.lstm import Lstm
from dejavu_models.types import HORIZONS, MAX_SLOTS, MarginSource


@dataclass(frozen=True, slots=True)
class EnsembleWeights:
    """How the models are combined at each minute.

    Attributes:
        dejavu_weights: (2 horizons, 48), by the minute, in [0, 1]: Dejavu's share of the ensemble; the LSTM has the
            rest. Minute 0 is not used.
        shrinkage: (2 horizons, 48), in [0, 1]: how much of what Dejavu's neighbours say is believed.

    Raises:
        ValueError: if a shape is another, or a value out of bounds.
    """

    dejavu_weights: Floats
    shrinkage: Floats

    def __post_init__(self) -> None:
        for name in ("dejavu_weights", "shrinkage"):
            values = getattr(self, name)
            if values.shape != (len(HORIZONS), MAX_SLOTS + 1) or values.dtype != np.float64:
                raise ValueError(f"{name} are {values.dtype} of shape {values.shape}")
            if not ((values >= 0) & (values <= 1)).all():
                raise ValueError(f"{name} must lie in [0, 1]")


@dataclass(frozen=True, slots=True)
class Predictions:
    """What each model forecasts for n games at one minute: differentials at the horizons, in points.

    What stands for a horizon that has passed is without meaning.

    Attributes:
        minute: at which the patterns end.
        persistence: (n,), the last known differential.
        linear, dejavu, lstm, ensemble: (n, 2), by horizon.
        lstm_residuals: (n, 2), what the LSTM adds to the linear models.
        neighbourhoods: what Dejavu's forecasts rest on.
    """

    minute: int
    persistence: Floats
    linear: Floats
    dejavu: Floats
    lstm: Floats
    ensemble: Floats
    lstm_residuals: Floats
    neighbourhoods: NeighborResult


@dataclass(frozen=True, slots=True)
class PointEnsemble:
    """All models of a bundle but for its calibration.

    Attributes:
        minutes: the databases, by minute; which minutes the bundle knows.
    """

    linear: LinearModels
    lstm: Lstm
    minutes: Mapping[int, Dejavu]
    weights: EnsembleWeights

    def predict(self, patterns: Floats, margins: Floats) -> Predictions:
        """Forecasts many games at the minute that their patterns end with, in one pass.

        Args:
            patterns: (n, minute), finite, in points; n ≥ 1.
            margins: (n,), expected final differentials before the game, in points; NaN where unknown.

        Raises:
            KeyError: if there is no database for the minute.
        """
        return self.predict_from_residuals(patterns, margins, self.lstm.residuals(patterns, margins)[:, -1])

    def predict_from_residuals(self, patterns: Floats, margins: Floats, lstm_residuals: Floats) -> Predictions:
        """As `predict`, with what the LSTM has said of the games already: (n, 2), in points."""
        minute = patterns.shape[1]
        dejavu = self.minutes[minute]
        last = patterns[:, -1]
        linear = last[:, None] + self.linear.increments(minute, last, margins)
        neighbourhoods = dejavu.query(patterns)
        modes = np.where(np.isfinite(margins), MarginSource.KNOWN, MarginSource.UNKNOWN)
        of_neighbours = neighbourhoods.residuals[np.arange(len(modes)), modes] * self.weights.shrinkage[:, minute]
        weight = self.weights.dejavu_weights[:, minute]
        return Predictions(
            minute=minute,
            persistence=last,
            linear=linear,
            dejavu=linear + of_neighbours,
            lstm=linear + lstm_residuals,
            ensemble=linear + weight * of_neighbours + (1 - weight) * lstm_residuals,
            lstm_residuals=lstm_residuals,
            neighbourhoods=neighbourhoods,
        )
