"""Point forecasts of one game: the same numbers as `PointEnsemble.predict`, at a third of its cost.

Most forecasts are of one game alone, and NumPy takes about a microsecond a step, however short the arrays are. What the
steps of a batch look up anew each time is looked up once for each minute, and what is only a few numbers is computed
without arrays. Every operation is that of the batch, on the same types and in the same order: results are equal to the
last bit.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats, Singles
from dejavu_models.point import features
from dejavu_models.point.dejavu import Dejavu, Kernel
from dejavu_models.point.ensemble import PointEnsemble
from dejavu_models.point.linear import CUBE, CUBE_UNIT, INTERCEPT, MARGIN_SLOPE, SLOPE
from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MarginSource

_CHANGE: Final = 1
_MARGIN: Final = 3


class SingleGameModels:
    """The point models of a bundle for one game at a time; thread-safe.

    Args:
        models: the point models.
    """

    def __init__(self, models: PointEnsemble) -> None:
        self._models = models
        self._minutes: dict[int, _Minute] = {}

    def ensemble(self, differentials: tuple[float, ...], margin: float | None) -> tuple[float, ...]:
        """Forecasts the differentials at both horizons, in points; meaningless for a horizon that has passed.

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
        source = MarginSource.UNKNOWN if margin is None else MarginSource.KNOWN
        pattern = np.array(differentials)
        neighbours = minute.residuals_of_neighbours(pattern)[source].tolist()
        recurrent = self._models.lstm.last_residuals(minute.steps(pattern, margin)).tolist()
        lead, known = differentials[-1], 0.0 if margin is None else margin
        cubed = lead * lead * lead / CUBE_UNIT
        forecasts = []
        for horizon, (coefficients, shrinkage, weight, rest) in enumerate(minute.numbers[source]):
            increment = coefficients[INTERCEPT] + coefficients[SLOPE] * lead + coefficients[MARGIN_SLOPE] * known
            if minute.cubic:
                increment += coefficients[CUBE] * cubed
            linear = lead + increment
            similar = neighbours[horizon] * shrinkage
            forecasts.append(linear + weight * similar + rest * recurrent[horizon])
        return tuple(forecasts)


class _Minute:
    """What the forecasts from one minute look up.

    Args:
        models: the point models.
        minute: number of minutes of the patterns.

    Attributes:
        numbers: by source of the margin and horizon: coefficients of the linear model, shrinkage and weight of the
            similar games, and the weight of the LSTM.
        cubic: whether the linear models have cubes.
    """

    def __init__(self, models: PointEnsemble, minute: int) -> None:
        dejavu: Dejavu = models.minutes[minute]
        self._dejavu = dejavu
        self._weights: Singles = features.recency_weights(minute, dejavu.settings.recency).astype(np.float32)
        self._residuals = dejavu.entries.residuals.reshape(len(dejavu.entries), -1)
        nothing = np.zeros((1, minute))
        self._steps = {
            known: features.minute_steps(nothing, np.array([0.0 if known else math.nan])) for known in (False, True)
        }
        self.cubic = models.linear.cubic
        weights = models.weights
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

    def steps(self, pattern: Floats, margin: float | None) -> Singles:
        """Returns the input of the LSTM; see `features.minute_steps`."""
        steps = self._steps[margin is not None].copy()
        of_game = steps[0]
        of_game[:, 0] = pattern
        of_game[0, _CHANGE] = pattern[0]
        np.subtract(pattern[1:], pattern[:-1], out=of_game[1:, _CHANGE], casting="same_kind")
        if margin is not None:
            of_game[:, _MARGIN] = margin
        return steps

    def residuals_of_neighbours(self, pattern: Floats) -> Floats:
        """Returns the mean residuals of the similar games, (2 margin sources, 2 horizons); see `Dejavu.query`."""
        anchored = np.empty(len(pattern))
        last = pattern[-1]
        anchored[0] = -last
        np.subtract(pattern[:-1], last, out=anchored[1:])
        vector = np.multiply(anchored, self._weights, dtype=np.float32, casting="same_kind")
        settings = self._dejavu.settings
        labels, squares = self._dejavu.index.nearest_one(vector, settings.neighbours)
        weights: Floats = self._dejavu.entries.games[labels].astype(np.float64)
        if settings.kernel is not Kernel.UNIFORM:
            weights *= settings.kernel.weights(np.sqrt(squares.astype(np.float64))[None])[0]
        weights /= weights.sum()
        means: Floats = np.matmul(weights[None, None], self._residuals[labels][None])[0, 0]
        return means.reshape(len(MARGIN_SOURCES), len(HORIZONS))
