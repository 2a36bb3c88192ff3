"""Point forecasts by the compiled models: the same numbers as those of `PointModels`, in one call for any games.

Most forecasts are of one game, and NumPy takes about a microsecond per operation, however short the arrays are. The
compiled models compute all forecasts in one call, even if the patterns end at different minutes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np

from dejavu_models.arrays import Floats, Integers
from dejavu_models.components.dejavu import Dejavu
from dejavu_models.components.models import PointModels
from dejavu_models.components.shown_entries import date_of
from dejavu_models.native import native
from dejavu_models.types import (
    LINEAR,
    MAX_SLOTS,
    Attribution,
    ComponentPrediction,
    Explanation,
    SimilarGame,
)


def compiled_models(models: PointModels) -> CompiledModels:
    """Return the compiled form of point models."""
    databases = {minute: _database(dejavu, minute) for minute, dejavu in models.minutes.items()}
    linear = models.linear.coefficients
    minutes = [(linear[:, minute].transpose(1, 0, 2), databases.get(minute)) for minute in range(MAX_SLOTS + 1)]
    networks = [] if models.lstm is None else models.lstm.networks
    compiled = native.PointModels(networks, minutes, models.linear.cubic)
    return CompiledModels(compiled, models.components)


def _database(dejavu: Dejavu, minute: int) -> Any:
    return native.Database(
        dejavu.index.compiled,
        weights=dejavu.weights(minute),
        games=dejavu.entries.games,
        residuals=dejavu.entries.residuals,
        shown=dejavu.records.view(np.uint8),
        letters=(dejavu.records.dtype["home"].itemsize, dejavu.records.dtype["away"].itemsize),
        kernel=dejavu.settings.kernel.value,
        neighbours=dejavu.settings.neighbours,
    )


class CompiledModels:
    """The point models of a bundle, compiled; thread-safe.

    Args:
        models: a `PointModels` of the extension.
        components: names of the components of the bundle.
    """

    def __init__(self, models: Any, components: tuple[str, ...]) -> None:
        self._models, self._components = models, components

    def predict(self, differentials: Sequence[float], margin: float | None, *, line: bool = False) -> CompiledGame:
        """Predict one game.

        Args:
            differentials: the pattern, finite, in points.
            margin: expected final differential before the game, in points; None if unknown.
            line: whether the margin is the line of a market.

        Raises:
            KeyError: if there are databases, but none for the minute.
        """
        prediction = self._models.predict(differentials, math.nan if margin is None else margin, line)
        return CompiledGame(self._models, prediction, self._components)

    def predict_many(self, games: Sequence[tuple[Sequence[float], float | None, bool]]) -> list[CompiledGame]:
        """Predict games, each by the arguments of `predict`; patterns may end at different minutes."""
        offsets = [0, *accumulate(len(differentials) for differentials, _, _ in games)]
        patterns = np.fromiter(chain.from_iterable(differentials for differentials, _, _ in games), float, offsets[-1])
        margins = [math.nan if margin is None else margin for _, margin, _ in games]
        lines = np.array([line for _, _, line in games], dtype=bool)
        found = self._models.predict_many(patterns, np.array(offsets), np.array(margins), lines)
        return [CompiledGame(self._models, prediction, self._components) for prediction in found]

    def points(self, patterns: Floats, offsets: Integers, margins: Floats, *, line: bool = False) -> Floats:
        """Predict games whose patterns follow one another.

        Args:
            patterns: (slots,), differentials of all games, finite, in points.
            offsets: (n + 1,), the first slot of each game, then the total number of slots.
            margins: (n,), expected final differentials before the games, in points; NaN if unknown.
            line: whether they are lines of a market.

        Returns:
            (n, 2), differentials at the horizons, in points; meaningless for a horizon that has passed.

        Raises:
            KeyError: if there are databases, but none for one of the minutes.
        """
        points: Floats = self._models.points(patterns, offsets, margins, line)
        return points


class CompiledGame:
    """Predictions for one game.

    Args:
        models: the `PointModels` that made them.
        prediction: a `Prediction` of the extension.
        components: names of the components of the bundle.
    """

    __slots__ = ("_components", "_models", "_opinions", "_prediction")

    def __init__(self, models: Any, prediction: Any, components: tuple[str, ...]) -> None:
        self._models, self._prediction, self._components = models, prediction, components
        self._opinions: Any = None  # predictions of the components, computed for the first explanation

    def point(self, horizon: int) -> float:
        """Return the point forecast at a horizon, by its index, in points; meaningless for one that has passed."""
        point: float = self._prediction.point(horizon)
        return point

    def explanation(self, horizon: int, point: float, calibration_games: int) -> Explanation:
        """Return the explanation of the forecast at a horizon.

        Args:
            horizon: its index in HORIZONS.
            point: issued point forecast, in points; the shift by live inputs is attributed to the last minute.
            calibration_games: number of games behind the distribution of the forecast.
        """
        if self._opinions is None:
            self._opinions = self._models.opinions(self._prediction)
        numbers = native.Explanation(self._models, self._prediction, self._opinions, horizon, point, calibration_games)
        return Explanation(
            components=(
                ComponentPrediction(LINEAR, point, 1.0),
                *(ComponentPrediction(name, getattr(numbers, f"{name}_prediction"), 0.0) for name in self._components),
            ),
            baseline_prediction=numbers.baseline_prediction,
            similar_games=tuple(
                SimilarGame(home, away, date_of(day), distance, differential, games, increment, spread)
                for home, away, day, distance, differential, games, increment, spread in numbers.similar_games
            ),
            calibration_games=numbers.calibration_games,
            attribution=Attribution(numbers.before_tipoff, tuple(numbers.minutes)),
        )
