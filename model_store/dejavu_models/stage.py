"""A stage: one horizon seen from one minute of the game, and the models that know it."""

from __future__ import annotations

from dataclasses import dataclass

from dejavu_models.arrays import Floats
from dejavu_models.conformal import ConformalScores
from dejavu_models.dejavu import Dejavu, Neighbourhoods
from dejavu_models.lstm import Lstm
from dejavu_models.types import Horizon


@dataclass(frozen=True, slots=True)
class StagePredictions:
    """What each model forecasts for n games: differentials at the horizon, in points, each (n,).

    Attributes:
        persistence: the last known differential.
        ensemble: Dejavu's and the LSTM's, combined by their weights.
        neighbourhoods: what Dejavu's forecasts rest on.
    """

    persistence: Floats
    dejavu: Floats
    lstm: Floats
    ensemble: Floats
    neighbourhoods: Neighbourhoods


@dataclass(frozen=True, slots=True)
class PointModels:
    """The models of a stage that need no calibration.

    Attributes:
        slots: the number of slots of the patterns that they read.
        dejavu_weight: Dejavu's share of the ensemble, in [0, 1]; the LSTM has the rest.
    """

    horizon: Horizon
    slots: int
    dejavu: Dejavu
    lstm: Lstm
    dejavu_weight: float

    @property
    def lstm_weight(self) -> float:
        """The LSTM's share of the ensemble."""
        return 1 - self.dejavu_weight

    def predict(self, patterns: Floats) -> StagePredictions:
        """Forecasts many games in one pass.

        Args:
            patterns: (n, slots), finite, in points; n ≥ 1.
        """
        last = patterns[:, -1]
        neighbourhoods = self.dejavu.look_up(patterns)
        dejavu = last + neighbourhoods.increments
        lstm = last + self.lstm.predict(patterns)
        ensemble = self.dejavu_weight * dejavu + self.lstm_weight * lstm
        return StagePredictions(last, dejavu, lstm, ensemble, neighbourhoods)


@dataclass(frozen=True, slots=True)
class Stage:
    """The models of a stage with the residuals that they left on games that they never saw."""

    models: PointModels
    scores: ConformalScores
