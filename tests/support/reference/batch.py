"""Predictions for the games of a batch, by NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from dejavu_models.arrays import Floats, Integers
from dejavu_models.components.models import PointModels, Predictions
from dejavu_models.components.shown_entries import shown
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


class GameBatch:
    """Distinct games of a batch: one LSTM run for all of them, the other models once per minute.

    Args:
        games: pattern and expected margin of each game, in points; the margin is None if unknown.
        models: the models.
        line: whether the margins are lines of a market.

    Attributes:
        models: the models.
        predictions: row of a game → the predictions at its minute, and the game's index in them.
    """

    def __init__(
        self, games: Sequence[tuple[tuple[float, ...], float | None]], models: PointModels, *, line: bool = False
    ) -> None:
        self.models = models
        minutes = [len(differentials) for differentials, _ in games]
        # Shorter patterns are zero-padded; the LSTM is causal, so padding does not affect earlier minutes.
        patterns = np.zeros((len(games), max(minutes)))
        margins = np.array([math.nan if margin is None else margin for _, margin in games])
        by_minute: dict[int, list[int]] = {}
        for row, (differentials, _) in enumerate(games):
            patterns[row, : len(differentials)] = differentials
            by_minute.setdefault(len(differentials), []).append(row)
        residuals = models.lstm_residuals(patterns, margins)
        self.predictions: dict[int, tuple[Predictions, int]] = {}
        for minute, rows in by_minute.items():
            of_minute = models.predict_from_residuals(
                patterns[rows, :minute], margins[rows], residuals[rows, minute - 1], line=line
            )
            self.predictions.update((row, (of_minute, index)) for index, row in enumerate(rows))
        leads = np.concatenate([np.zeros((len(games), 1)), patterns[:, :-1]], axis=1)
        increments = models.linear.increments(slice(max(minutes)), leads, margins, line=line)
        self._earlier = leads[:, :, None] + increments

    @property
    def games(self) -> list[BatchedGame]:
        """The games, in order."""
        return [BatchedGame(self, row) for row in range(len(self._earlier))]

    def explained(self, row: int) -> ExplainedGame:
        """Return the model outputs that explain the forecast of a game."""
        of_minute, place = self.predictions[row]
        near = of_minute.neighbourhoods
        return ExplainedGame(
            minute=of_minute.minute,
            lead=float(of_minute.persistence[place]),
            linear=of_minute.linear[place].tolist(),
            dejavu=of_minute.dejavu[place].tolist(),
            lstm=of_minute.lstm[place].tolist(),
            entries=np.empty(0, np.int64) if near is None else near.entries[place],
            distances=np.empty(0) if near is None else near.distances[place],
            earlier=self._earlier[row, : of_minute.minute],
        )


class BatchedGame:
    """A game of a batch; see `CompiledGame`.

    Args:
        batch: the batch.
        row: row of the game in it.
    """

    __slots__ = ("_batch", "_row")

    def __init__(self, batch: GameBatch, row: int) -> None:
        self._batch, self._row = batch, row

    def point(self, horizon: int) -> float:
        """See `CompiledGame`."""
        predictions, index = self._batch.predictions[self._row]
        return float(predictions.linear[index, horizon])

    def explanation(self, horizon: int, point: float, calibration_games: int) -> Explanation:
        """See `CompiledGame`."""
        return explanation(self._batch.models, calibration_games, point, self._batch.explained(self._row), horizon)
