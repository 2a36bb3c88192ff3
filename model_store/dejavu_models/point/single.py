"""Point forecasts of one game: the same numbers as `PointEnsemble.predict`, at two thirds of its cost.

Most forecasts are of one game alone, and NumPy takes about a microsecond a step, however short the arrays are. What the
steps of a batch look up anew each time is looked up once for each minute, and what is only a few numbers is computed
without arrays. Search, LSTM and linear models are those of the batch, and every operation is on the same types and in
the same order: results are equal to the last bit.
"""

from __future__ import annotations

import math

import numpy as np

from dejavu_models.arrays import Floats, Singles
from dejavu_models.point import features
from dejavu_models.point.batch import ExplainedGame, earlier_forecasts
from dejavu_models.point.dejavu import Dejavu
from dejavu_models.point.ensemble import PointEnsemble, Predictions
from dejavu_models.types import MARGIN_SOURCES, MarginSource


class SingleGameModels:
    """The point models of a bundle for one game at a time; thread-safe.

    Args:
        models: the point models.
    """

    def __init__(self, models: PointEnsemble) -> None:
        self._models = models
        self._minutes: dict[int, _Minute] = {}

    def predict(self, differentials: tuple[float, ...], margin: float | None) -> SingleGame:
        """Predicts one game.

        Args:
            differentials: the pattern, finite, in points.
            margin: expected final differential before the game, in points; None if unknown.

        Raises:
            KeyError: if there is no database for the minute.
        """
        count = len(differentials)
        minute = self._minutes.get(count)
        if minute is None:
            minute = self._minutes[count] = _Minute(self._models, count)
        return SingleGame(self._models, minute, differentials, margin)


class SingleGame:
    """Predictions for one game: differentials at the horizons, in points.

    Values for a horizon that has passed are meaningless.

    Args:
        models: the point models.
        minute: their tables for the minute at which the pattern ends.
        differentials: the pattern, finite, in points.
        margin: expected final differential before the game, in points; None if unknown.

    Attributes:
        ensemble: by horizon.
    """

    def __init__(
        self, models: PointEnsemble, minute: _Minute, differentials: tuple[float, ...], margin: float | None
    ) -> None:
        self._models, self._minute, self._margin = models, minute, margin
        source = MarginSource.UNKNOWN if margin is None else MarginSource.KNOWN
        self._pattern: Floats = np.array(differentials)
        self._near = minute.dejavu.query(self._pattern[None])
        self._corrections = models.lstm.run(minute.steps(self._pattern, margin))
        neighbours = self._near.residuals[0, source].tolist()
        recurrent = self._corrections[0, -1].tolist()
        lead, known = differentials[-1], 0.0 if margin is None else margin
        linear, dejavu, lstm, ensemble = [], [], [], []
        for horizon, (coefficients, shrinkage, weight, rest) in enumerate(minute.numbers[source]):
            base: float = lead + models.linear.increment(coefficients, lead, known)
            similar = neighbours[horizon] * shrinkage
            linear.append(base)
            dejavu.append(base + similar)
            lstm.append(base + recurrent[horizon])
            ensemble.append(base + weight * similar + rest * recurrent[horizon])
        self._linear, self._dejavu, self._lstm = linear, dejavu, lstm
        self.ensemble: tuple[float, ...] = tuple(ensemble)

    def explained(self, *, steps: bool) -> ExplainedGame:
        """Returns what the forecast of the game is explained by.

        Args:
            steps: whether its earlier forecasts contain the similar games.
        """
        minutes = len(self._pattern)
        predictions = Predictions(
            minute=minutes,
            persistence=self._pattern[-1:],
            linear=np.array([self._linear]),
            dejavu=np.array([self._dejavu]),
            lstm=np.array([self._lstm]),
            ensemble=np.array([self.ensemble]),
            neighbourhoods=self._near,
        )
        corrections = self._corrections.astype(float)
        if not steps:
            earlier = self._minute.earlier_forecasts(self._pattern, self._margin, corrections[0])
            return ExplainedGame(predictions, 0, earlier, steps)
        margins = np.array([math.nan if self._margin is None else self._margin])
        lengths, all_steps = np.array([minutes]), np.array([True])
        [earlier] = earlier_forecasts(self._models, self._pattern[None], lengths, margins, corrections, all_steps)
        return ExplainedGame(predictions, 0, earlier, steps)


class _Minute:
    """What the forecasts from one minute look up.

    Args:
        models: the point models.
        minute: number of minutes of the patterns.

    Attributes:
        dejavu: its database.
        numbers: by source of the margin and horizon: coefficients of the linear model, shrinkage and weight of the
            similar games, and the weight of the LSTM.
    """

    def __init__(self, models: PointEnsemble, minute: int) -> None:
        self.dejavu: Dejavu = models.minutes[minute]
        self._linear = models.linear
        nothing = np.zeros((1, minute))
        self._steps = {
            known: features.minute_steps(nothing, np.array([0.0 if known else math.nan])) for known in (False, True)
        }
        weights = models.weights
        # By source: (4 coefficients, minutes, 2 horizons), of the minutes before.
        self._earlier = [
            np.ascontiguousarray(models.linear.coefficients[:, :minute, source].transpose(2, 1, 0))
            for source in MARGIN_SOURCES
        ]
        self._rest: Floats = 1 - weights.dejavu_weights[:, 1:minute].T
        self.numbers = [
            [
                (
                    coefficients.tolist(),
                    float(weights.shrinkage[horizon, minute]),
                    float(weights.dejavu_weights[horizon, minute]),
                    float(1 - weights.dejavu_weights[horizon, minute]),
                )
                for horizon, coefficients in enumerate(models.linear.coefficients[:, minute, source])
            ]
            for source in MARGIN_SOURCES
        ]

    def earlier_forecasts(self, pattern: Floats, margin: float | None, corrections: Floats) -> Floats:
        """Returns the forecasts before tip-off and after each minute but the last, without similar games.

        Args:
            pattern: (minutes,), in points.
            margin: expected final differential before the game, in points; None if unknown.
            corrections: (minutes, 2), those of the LSTM after each minute, in points.

        Returns:
            (minutes, 2), in points, by horizon; see `batch.earlier_forecasts`.
        """
        leads = np.zeros((len(pattern), 1))
        leads[1:, 0] = pattern[:-1]
        of_source = self._earlier[MarginSource.UNKNOWN if margin is None else MarginSource.KNOWN]
        result: Floats = leads + self._linear.increment(of_source, leads, 0.0 if margin is None else margin)
        result[1:] += self._rest * corrections[:-1]
        return result

    def steps(self, pattern: Floats, margin: float | None) -> Singles:
        """Returns the input of the LSTM; see `features.minute_steps`."""
        return features.steps_like(self._steps[margin is not None], pattern[None], margin)
