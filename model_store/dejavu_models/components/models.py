"""Point models of a bundle: the linear models, whose prediction is the forecast, and components beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.components.dejavu import Dejavu, NeighborResult
from dejavu_models.components.linear import LinearModels
from dejavu_models.components.lstm import Lstm
from dejavu_models.types import COMPONENTS, HORIZONS, MarginSource


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions of each model for n games at one minute: differentials at the horizons, in points.

    Values for a horizon that has passed are meaningless.

    Attributes:
        minute: minute at which the patterns end.
        persistence: (n,), the last known differential.
        linear, dejavu, lstm: (n, 2), by horizon. A missing component has the predictions of the linear models.
        neighbourhoods: neighbours behind Dejavu's predictions; None if it is not a component.
    """

    minute: int
    persistence: Floats
    linear: Floats
    dejavu: Floats
    lstm: Floats
    neighbourhoods: NeighborResult | None


@dataclass(frozen=True, slots=True)
class PointModels:
    """The point models of a bundle, without its calibration.

    Attributes:
        linear: the linear models. Their prediction is the point forecast.
        lstm: None if it is not a component.
        minutes: Dejavu databases by minute; the keys are the minutes that the bundle supports. Empty if Dejavu is not a
            component.
    """

    linear: LinearModels
    lstm: Lstm | None
    minutes: Mapping[int, Dejavu]

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

    def predict_from_residuals(
        self, patterns: Floats, margins: Floats, lstm_residuals: Floats, *, line: bool = False
    ) -> Predictions:
        """Predict many games at the minute at which their patterns end, in one batch.

        Args:
            patterns: (n, minute), finite, in points; n ≥ 1.
            margins: (n,), expected final differentials before the game, in points; NaN if unknown.
            lstm_residuals: (n, 2), those of `lstm_residuals` after the minute, in points.
            line: whether the margins are lines of a market.

        Raises:
            KeyError: if there are databases, but none for the minute.
        """
        minute = patterns.shape[1]
        last = patterns[:, -1]
        linear = last[:, None] + self.linear.increments(minute, last, margins, line=line)
        of_neighbours, neighbourhoods = np.zeros_like(linear), None
        if self.minutes:
            neighbourhoods = self.minutes[minute].query(patterns)
            sources = np.where(np.isfinite(margins), MarginSource.KNOWN, MarginSource.UNKNOWN)
            of_neighbours = neighbourhoods.residuals[np.arange(len(sources)), sources]
        return Predictions(
            minute=minute,
            persistence=last,
            linear=linear,
            dejavu=linear + of_neighbours,
            lstm=linear + lstm_residuals,
            neighbourhoods=neighbourhoods,
        )
