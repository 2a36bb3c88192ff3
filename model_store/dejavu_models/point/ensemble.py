"""Ensemble of the point models of a bundle: linear models, and the components that correct them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.point.dejavu import Dejavu, NeighborResult
from dejavu_models.point.linear import LinearModels
from dejavu_models.point.lstm import Lstm
from dejavu_models.types import COMPONENTS, HORIZONS, MAX_SLOTS, MarginSource


@dataclass(frozen=True, slots=True)
class EnsembleWeights:
    """Weights of the ensemble at each minute.

    Attributes:
        dejavu_weights: (2 horizons, 48), by minute, in [0, 1]: Dejavu's weight in the ensemble; the LSTM has the
            rest. Minute 0 is not used.
        shrinkage: (2 horizons, 48), in [0, 1]: factor applied to the residuals of Dejavu's neighbours.

    Raises:
        ValueError: if a shape is wrong or a value is out of bounds.
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
    """Predictions of each model for n games at one minute: differentials at the horizons, in points.

    Values for a horizon that has passed are meaningless.

    Attributes:
        minute: minute at which the patterns end.
        persistence: (n,), the last known differential.
        linear, dejavu, lstm, ensemble: (n, 2), by horizon.
        neighbourhoods: neighbours behind Dejavu's predictions; None if it is not a component.
    """

    minute: int
    persistence: Floats
    linear: Floats
    dejavu: Floats
    lstm: Floats
    ensemble: Floats
    neighbourhoods: NeighborResult | None


@dataclass(frozen=True, slots=True)
class PointEnsemble:
    """The point models of a bundle, without its calibration.

    Attributes:
        linear: the linear models, which the others correct.
        lstm: None if it is not a component.
        minutes: Dejavu databases by minute; the keys are the minutes that the bundle supports. Empty if Dejavu is not a
            component.
        weights: weights of the components; a single component has the full weight.

    Raises:
        ValueError: if a missing component has a weight.
    """

    linear: LinearModels
    lstm: Lstm | None
    minutes: Mapping[int, Dejavu]
    weights: EnsembleWeights

    def __post_init__(self) -> None:
        weights = self.weights.dejavu_weights[:, 1:]
        if self.components == ("dejavu",) and (weights != 1).any():
            raise ValueError("the LSTM has a weight, and is not a component")
        if self.components == ("lstm",) and weights.any():
            raise ValueError("Dejavu has a weight, and is not a component")

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components, in the order of COMPONENTS."""
        present = {"dejavu": bool(self.minutes), "lstm": self.lstm is not None}
        return tuple(name for name in COMPONENTS if present[name])

    def lstm_residuals(self, patterns: Floats, margins: Floats) -> Floats:
        """Return the residuals of the LSTM after each minute, (n, minutes, 2), in points; 0 without it."""
        if self.lstm is None:
            return np.zeros((*patterns.shape, len(HORIZONS)))
        return self.lstm.residuals(patterns, margins)

    def predict(self, patterns: Floats, margins: Floats, *, line: bool = False) -> Predictions:
        """Predict many games at the minute at which their patterns end, in one batch.

        Args:
            patterns: (n, minute), finite, in points; n ≥ 1.
            margins: (n,), expected final differentials before the game, in points; NaN if unknown.
            line: whether they are lines of a market.

        Raises:
            KeyError: if there are databases, but none for the minute.
        """
        residuals = self.lstm_residuals(patterns, margins)[:, -1]
        return self.predict_from_residuals(patterns, margins, residuals, line=line)

    def predict_from_residuals(
        self, patterns: Floats, margins: Floats, lstm_residuals: Floats, *, line: bool = False
    ) -> Predictions:
        """Like `predict`, with LSTM residuals computed beforehand: (n, 2), in points."""
        minute = patterns.shape[1]
        last = patterns[:, -1]
        linear = last[:, None] + self.linear.increments(minute, last, margins, line=line)
        of_neighbours, neighbourhoods = np.zeros_like(linear), None
        if self.minutes:
            neighbourhoods = self.minutes[minute].query(patterns)
            sources = np.where(np.isfinite(margins), MarginSource.KNOWN, MarginSource.UNKNOWN)
            of_neighbours = neighbourhoods.residuals[np.arange(len(sources)), sources]
            of_neighbours = of_neighbours * self.weights.shrinkage[:, minute]
        weight = self.weights.dejavu_weights[:, minute]
        return Predictions(
            minute=minute,
            persistence=last,
            linear=linear,
            dejavu=linear + of_neighbours,
            lstm=linear + lstm_residuals,
            ensemble=linear + weight * of_neighbours + (1 - weight) * lstm_residuals,
            neighbourhoods=neighbourhoods,
        )
