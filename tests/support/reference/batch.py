"""Predictions for the games of a batch, and the forecasts of their earlier minutes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from tests.support.reference.explanation import ExplainedGame, explanation

from dejavu_models.arrays import Floats, Integers
from dejavu_models.point.ensemble import PointEnsemble, Predictions
from dejavu_models.types import Explanation, MarginSource


class GameBatch:
    """Distinct games of a batch: one LSTM run for all of them, the other models once per minute.

    Args:
        games: of each game the pattern, in points, and the expected margin before tip-off, in points; None if unknown.
        models: the models.
        explained: rows of games that are explained, and whether their earlier forecasts include similar games.
        line: whether the margins are lines of a market.

    Attributes:
        models: the models.
        predictions: by row of a game, the predictions at its minute, and its index in them.
    """

    def __init__(
        self,
        games: Sequence[tuple[tuple[float, ...], float | None]],
        models: PointEnsemble,
        explained: Mapping[int, bool],
        *,
        line: bool = False,
    ) -> None:
        self.models = models
        minutes = [len(differentials) for differentials, _ in games]
        self._minutes = minutes
        # Shorter patterns are zero-padded; the LSTM is causal, so padding does not affect earlier minutes.
        self._patterns = np.zeros((len(games), max(minutes)))
        self._margins = np.array([math.nan if margin is None else margin for _, margin in games])
        by_minute: dict[int, list[int]] = {}
        for row, (differentials, _) in enumerate(games):
            self._patterns[row, : len(differentials)] = differentials
            by_minute.setdefault(len(differentials), []).append(row)
        self._residuals = models.lstm_residuals(self._patterns, self._margins)
        self.predictions: dict[int, tuple[Predictions, int]] = {}
        for minute, rows in by_minute.items():
            of_minute = models.predict_from_residuals(
                self._patterns[rows, :minute], self._margins[rows], self._residuals[rows, minute - 1], line=line
            )
            self.predictions.update((row, (of_minute, index)) for index, row in enumerate(rows))

        self._explained = {row: (index, steps) for index, (row, steps) in enumerate(explained.items())}
        if explained:
            chosen = [*explained]
            self._earlier = earlier_forecasts(
                models,
                self._patterns[chosen],
                np.array(minutes)[chosen],
                self._margins[chosen],
                self._residuals[chosen],
                np.array([*explained.values()]),
                line=line,
            )

    @property
    def games(self) -> list[BatchedGame]:
        """The games, in order."""
        return [BatchedGame(self, row) for row in range(len(self._minutes))]

    def explained(self, row: int) -> ExplainedGame:
        """Returns what the forecast of an explained game is explained by."""
        index, steps = self._explained[row]
        of_minute, place = self.predictions[row]
        near = of_minute.neighbourhoods
        return ExplainedGame(
            minute=of_minute.minute,
            lead=float(of_minute.persistence[place]),
            linear=of_minute.linear[place].tolist(),
            dejavu=of_minute.dejavu[place].tolist(),
            lstm=of_minute.lstm[place].tolist(),
            ensemble=of_minute.ensemble[place].tolist(),
            entries=np.empty(0, np.int64) if near is None else near.entries[place],
            distances=np.empty(0) if near is None else near.distances[place],
            earlier=self._earlier[index, : self._minutes[row]],
            steps=steps,
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
        return float(predictions.ensemble[index, horizon])

    def explanation(self, horizon: int, point: float, calibration_games: int, *, steps: bool) -> Explanation:
        """See `CompiledGame`; the batch knows whether with steps."""
        return explanation(self._batch.models, calibration_games, point, self._batch.explained(self._row), horizon)


def earlier_forecasts(
    models: PointEnsemble,
    patterns: Floats,
    lengths: Integers,
    margins: Floats,
    lstm_residuals: Floats,
    steps: NDArray[np.bool_],
    *,
    line: bool = False,
) -> Floats:
    """Computes the forecasts of games before tip-off and after every minute but their last.

    Queries the databases of those minutes in which the similar games have a weight, once for all games that went on
    longer. Before tip-off there are only the linear models; a minute that the models have no database for counts as one
    without similar games.

    Args:
        models: the models.
        patterns: (n, minutes), patterns of the games, in points; anything beyond a game's length.
        lengths: (n,), numbers of minutes.
        margins: (n,), expected final differentials before the game, in points; NaN if unknown.
        lstm_residuals: (n, minutes, 2), LSTM output after each minute, in points.
        steps: (n,), whether to include the similar games.
        line: whether the margins are lines of a market.

    Returns:
        (n, minutes, 2), in points, by minute from 0 (before tip-off) and horizon; meaningless from a game's length on.
    """
    minutes = patterns.shape[1]
    leads = np.concatenate([np.zeros((len(patterns), 1)), patterns[:, :-1]], axis=1)
    result: Floats = leads[:, :, None] + models.linear.increments(slice(minutes), leads, margins, line=line)
    weights = models.weights.dejavu_weights[:, 1:minutes].T
    result[:, 1:] += (1 - weights) * lstm_residuals[:, :-1]
    if not steps.any():
        return result
    factors = weights * models.weights.shrinkage[:, 1:minutes].T  # (minutes − 1, 2)
    sources = np.where(np.isfinite(margins), MarginSource.KNOWN, MarginSource.UNKNOWN)
    for minute in range(1, minutes):
        rows = np.flatnonzero(steps & (lengths > minute))
        dejavu = models.minutes.get(minute) if factors[minute - 1].any() else None
        if dejavu is not None and len(rows):
            residuals = dejavu.query(patterns[rows, :minute]).residuals[np.arange(len(rows)), sources[rows]]
            result[rows, minute] += factors[minute - 1] * residuals
    return result
