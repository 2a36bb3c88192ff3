"""Explanation of a forecast: the contribution of each minute, predictions of the components, and similar past games.

Minute contributions are asymmetric Shapley values for the only order in which a game can happen: the contribution of
minute k is the change of the forecast when minute k became known (Frye, Rowat & Feige, Asymmetric Shapley values,
NeurIPS 2020). They are exact: pregame forecast + minute contributions = forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from dejavu_models.arrays import Floats, Integers
from dejavu_models.point.models import PointModels
from dejavu_models.point.shown_entries import shown
from dejavu_models.types import Attribution, ComponentPrediction, Explanation, SimilarGame

SIMILAR_GAMES = 5
"""Number of nearest past games in an explanation."""


class ExplainedGame(NamedTuple):
    """The model outputs that explain the forecast of a game, as plain numbers; differentials in points.

    Values for a horizon that has passed are meaningless.

    Attributes:
        minute: minute at which its pattern ends.
        lead: the last known differential, in points.
        linear, dejavu, lstm: predictions of each model, by horizon.
        entries: positions of its neighbours in the database, nearest first.
        distances: (neighbours,), in points.
        earlier: (minutes, 2), its forecasts before tip-off and after each minute but the last, in points, by horizon.
    """

    minute: int
    lead: float
    linear: Sequence[float]
    dejavu: Sequence[float]
    lstm: Sequence[float]
    entries: Integers
    distances: Floats
    earlier: Floats


def explanation(
    models: PointModels,
    calibration_games: int,
    point: float,
    game: ExplainedGame,
    horizon: int,
) -> Explanation:
    """Build the explanation of one forecast.

    Args:
        models: the models that produced the forecast.
        calibration_games: number of games behind the distribution of the forecast.
        point: point forecast that was issued, in points; the effect of live inputs counts as part of the last minute.
        game: the models' outputs for the game.
        horizon: index of the horizon in HORIZONS.
    """
    dejavu, lstm, linear = game.dejavu[horizon], game.lstm[horizon], game.linear[horizon]
    forecasts = [*game.earlier[:, horizon].tolist(), point]
    return Explanation(
        components=tuple(
            ComponentPrediction(name, predicted + point - linear, weight)  # each with the effect of live inputs
            for name, predicted, weight in (("linear", linear, 1.0), ("dejavu", dejavu, 0.0), ("lstm", lstm, 0.0))
            if name in ("linear", *models.components)
        ),
        baseline_prediction=game.lead,
        similar_games=_similar_games(models, game, horizon),
        calibration_games=calibration_games,
        attribution=Attribution(forecasts[0], tuple(after - before for before, after in pairwise(forecasts))),
    )


def _similar_games(models: PointModels, game: ExplainedGame, horizon: int) -> tuple[SimilarGame, ...]:
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
