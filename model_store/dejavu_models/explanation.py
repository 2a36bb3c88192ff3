"""What a forecast rests on: the models' own forecasts, the past games, and which minutes moved it.

The minutes' shares are Shapley values for the one order in which a game can happen, so that the minute k is worth what
it moved the forecast by when it became known (Frye, Rowat & Feige, Asymmetric Shapley values, NeurIPS 2020). They are
exact: their sum, with what was expected before the game and what similar games add at the end, is the forecast. Before
the last minute the forecast is that of the linear models and the LSTM, weighted as they are in the end.
"""

from __future__ import annotations

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.point.ensemble import PointEnsemble, Predictions
from dejavu_models.types import Attribution, Explanation, SimilarGame
from dejavu_models.uncertainty.conformal import PredictiveDistribution

SIMILAR_GAMES = 5
"""How many of the nearest past games an explanation shows."""


def explanation(
    models: PointEnsemble,
    distribution: PredictiveDistribution,
    predictions: Predictions,
    row: int,
    horizon: int,
    pattern: Floats,
    margin: float,
    lstm_residuals: Floats,
) -> Explanation:
    """The explanation of one forecast.

    Args:
        models: what made it.
        distribution: what its interval comes from.
        predictions: of some games at one minute.
        row: of the game in them.
        horizon: place of the horizon.
        pattern: (minutes,), of the game, in points.
        margin: its expected final differential before tip-off, in points; NaN where unknown.
        lstm_residuals: (minutes, 2), what the LSTM said of the game after each minute, in points.
    """
    minute = len(pattern)
    weight = float(models.weights.dejavu_weights[horizon, minute])
    lead, point = float(pattern[-1]), float(predictions.ensemble[row, horizon])
    return Explanation(
        dejavu_prediction=float(predictions.dejavu[row, horizon]),
        lstm_prediction=float(predictions.lstm[row, horizon]),
        ensemble_forecast=point,
        baseline_prediction=lead,
        dejavu_weight=weight,
        lstm_weight=1 - weight,
        similar_games=_similar_games(models, predictions, row, horizon, lead),
        linear_prediction=float(predictions.linear[row, horizon]),
        calibration_games=distribution.scores(lead).games,
        attribution=_attribution(models, horizon, pattern, margin, (1 - weight) * lstm_residuals[:, horizon], point),
    )


def _attribution(
    models: PointEnsemble, horizon: int, pattern: Floats, margin: float, lstm_shares: Floats, point: float
) -> Attribution:
    course = np.concatenate(([0.0], pattern))
    margins = np.array([margin])
    foreseen = course + models.linear.increments(slice(len(course)), course[None, :], margins)[0, :, horizon]
    foreseen[1:] += lstm_shares
    return Attribution(
        before_tipoff=float(foreseen[0]),
        minutes=tuple(np.diff(foreseen).tolist()),
        similar_games=point - float(foreseen[-1]),
    )


def _similar_games(
    models: PointEnsemble, predictions: Predictions, row: int, horizon: int, lead: float
) -> tuple[SimilarGame, ...]:
    nearest = predictions.neighbourhoods
    shown = nearest.entries[row, :SIMILAR_GAMES]
    entries = models.minutes[predictions.minute].entries
    increments = entries.increments[shown, horizon].astype(float)
    # Column by column: to take single values out of arrays costs more than the rest of the explanation.
    columns = (  # in the order of SimilarGame's fields
        entries.home[shown].tolist(),
        entries.away[shown].tolist(),
        entries.date[shown].tolist(),
        nearest.distances[row, :SIMILAR_GAMES].tolist(),
        (lead + increments).tolist(),
        entries.games[shown].tolist(),
        increments.tolist(),
        entries.spreads[shown, horizon].tolist(),
    )
    return tuple(SimilarGame(*values) for values in zip(*columns, strict=True))
