"""Explanation of a forecast: model predictions, similar past games, and the contribution of each minute.

Minute contributions are asymmetric Shapley values for the only order in which a game can happen: the contribution of
minute k is the change of the forecast when minute k became known (Frye, Rowat & Feige, Asymmetric Shapley values,
NeurIPS 2020). They are exact: pregame forecast + minute contributions + contribution of similar games = forecast.
Forecasts before the last minute use the linear models and the LSTM only, with the weights of the last minute.
"""

from __future__ import annotations

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.point.ensemble import PointEnsemble, Predictions
from dejavu_models.types import Attribution, Explanation, SimilarGame
from dejavu_models.uncertainty.conformal import PredictiveDistribution

SIMILAR_GAMES = 5
"""Number of nearest past games in an explanation."""


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
    """Builds the explanation of one forecast.

    Args:
        models: the models that produced the forecast.
        distribution: predictive distribution of the forecast.
        predictions: predictions for several games at one minute.
        row: row of the game in `predictions`.
        horizon: index of the horizon in HORIZONS.
        pattern: (minutes,), pattern of the game, in points.
        margin: expected final differential before tip-off, in points; NaN if unknown.
        lstm_residuals: (minutes, 2), LSTM output for the game after each minute, in points.
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
    leads = np.concatenate(([0.0], pattern))
    margins = np.array([margin])
    forecasts = leads + models.linear.increments(slice(len(leads)), leads[None, :], margins)[0, :, horizon]
    forecasts[1:] += lstm_shares
    return Attribution(
        before_tipoff=float(forecasts[0]),
        minutes=tuple(np.diff(forecasts).tolist()),
        similar_games=point - float(forecasts[-1]),
    )


def _similar_games(
    models: PointEnsemble, predictions: Predictions, row: int, horizon: int, lead: float
) -> tuple[SimilarGame, ...]:
    nearest = predictions.neighbourhoods
    shown = nearest.entries[row, :SIMILAR_GAMES]
    entries = models.minutes[predictions.minute].entries
    increments = entries.increments[shown, horizon].astype(float)
    # Convert whole columns: reading single array elements costs more than the rest of the explanation.
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
