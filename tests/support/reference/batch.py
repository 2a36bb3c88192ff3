"""Predictions for the games of a batch, by NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from tests.support.reference.explanation import ExplainedGame, explanation

from dejavu_models.point.models import PointModels, Predictions
from dejavu_models.types import Explanation


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
