"""Explanation of a forecast: model predictions, similar past games, and the contribution of each minute.

Minute contributions are asymmetric Shapley values for the only order in which a game can happen: the contribution of
minute k is the change of the forecast when minute k became known (Frye, Rowat & Feige, Asymmetric Shapley values,
NeurIPS 2020). The forecasts are those that are issued minute by minute, by all models with the weights of their minute,
so that the contributions are the steps that viewers saw. They are exact: pregame forecast + minute contributions =
forecast.

Dejavu's part of the steps takes a search for similar games at every earlier minute. Where it is not asked for, the
steps are those of the linear models and the LSTM, and the similar games of the last minute are a term of their own:
pregame forecast + minute contributions + contribution of similar games = forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from dejavu_models.arrays import Floats, Integers
from dejavu_models.point.ensemble import PointEnsemble
from dejavu_models.point.shown_entries import shown
from dejavu_models.types import Attribution, ComponentPrediction, Explanation, SimilarGame

SIMILAR_GAMES = 5
"""Number of nearest past games in an explanation."""


class ExplainedGame(NamedTuple):
    """What the forecast of a game is explained by, as plain numbers; differentials at the horizons, in points.

    Values for a horizon that has passed are meaningless.

    Attributes:
        minute: minute at which its pattern ends.
        lead: the last known differential, in points.
        linear, dejavu, lstm, ensemble: predictions of each model, by horizon.
        entries: positions of its neighbours in the database, nearest first.
        distances: (neighbours,), in points.
        earlier: (minutes, 2), its forecasts before tip-off and after each minute but the last, in points, by horizon.
        steps: whether `earlier` contains the similar games.
    """

    minute: int
    lead: float
    linear: Sequence[float]
    dejavu: Sequence[float]
    lstm: Sequence[float]
    ensemble: Sequence[float]
    entries: Integers
    distances: Floats
    earlier: Floats
    steps: bool


def explanation(
    models: PointEnsemble,
    calibration_games: int,
    point: float,
    game: ExplainedGame,
    horizon: int,
) -> Explanation:
    """Builds the explanation of one forecast.

    Args:
        models: the models that produced the forecast.
        calibration_games: number of games behind the distribution of the forecast.
        point: point forecast that was issued, in points; what live inputs add to the models' counts as known with the
            last minute.
        game: what the models predicted for the game.
        horizon: index of the horizon in HORIZONS.
    """
    weight = float(models.weights.dejavu_weights[horizon, game.minute])
    dejavu, lstm, linear = game.dejavu[horizon], game.lstm[horizon], game.linear[horizon]
    similar = 0.0 if game.steps else weight * (dejavu - linear)
    # Live inputs shift the combination; each model has the shift, so that the weighted sum of both is the forecast.
    shift = point - game.ensemble[horizon]
    return Explanation(
        components=tuple(
            ComponentPrediction(name, predicted + shift, share)
            for name, predicted, share in (("dejavu", dejavu, weight), ("lstm", lstm, 1 - weight))
            if name in models.components
        ),
        ensemble_forecast=point,
        baseline_prediction=game.lead,
        similar_games=_similar_games(models, game, horizon),
        linear_prediction=linear,
        calibration_games=calibration_games,
        attribution=_attribution(game.earlier[:, horizon], point, similar),
    )


def _attribution(earlier: Floats, point: float, similar: float) -> Attribution:
    forecasts = [*earlier.tolist(), point - similar]  # at most 48: a loop takes less than the steps of NumPy
    return Attribution(
        before_tipoff=forecasts[0],
        minutes=tuple(after - before for before, after in pairwise(forecasts)),
        similar_games=similar,
    )


def _similar_games(models: PointEnsemble, game: ExplainedGame, horizon: int) -> tuple[SimilarGame, ...]:
    if not models.minutes:
        return ()
    entries = shown(models.minutes[game.minute].records, game.entries[:SIMILAR_GAMES])
    distances = game.distances[:SIMILAR_GAMES].tolist()
    return tuple(
        SimilarGame(
            home_team=entry.home_team,
            away_team=entry.away_team,
            date=entry.date,
            distance=distance,
            differential_at_horizon=game.lead + entry.increments[horizon],
            games=entry.games,
            increment=entry.increments[horizon],
            increment_spread=entry.spreads[horizon],
        )
        for entry, distance in zip(entries, distances, strict=True)
    )
