"""Scores of forecasts of total points, by game and minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Singles
from dejavu_models.totals.model import TotalModel
from dejavu_models.types import CASES, HORIZONS
from dejavu_trainer.evaluation.scoring.forecasts import named_columns, split_columns
from dejavu_trainer.evaluation.scoring.whole_numbers import WholeNumberScores
from dejavu_trainer.training.totals import TotalGames

SEED: Final = 19
"""Seed of the random places within whole numbers; see `WholeNumberScores`."""


@dataclass(frozen=True, slots=True)
class TotalForecasts:
    """One forecaster's forecasts of the totals of n games for every case; a rival has no intervals.

    Attributes:
        point: (n, cases), point forecasts in points.
        crps: (n, cases), in points.
        lower, upper: (n, cases, alphas), ends of the intervals, whole numbers.
        pit: (n, cases), randomised probability integral transforms.
        held: (n, cases, alphas), whether the outcome counts as within the interval; see `Forecasts.held`.
    """

    point: Singles
    crps: Singles
    lower: Singles | None = None
    upper: Singles | None = None
    pit: Singles | None = None
    held: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class TotalScores:
    """Forecasts of the totals of those games of one or more folds that have total points.

    Attributes:
        season: (n,), as the year in which it ends.
        calibration_games: (n,), number of games behind the residuals by which a game's season was forecast.
        outcomes: (n, 2), totals by horizon, in points.
        forecasts: by forecaster.
    """

    season: NDArray[np.int16]
    calibration_games: NDArray[np.int32]
    outcomes: NDArray[np.int16]
    forecasts: dict[str, TotalForecasts]

    def __len__(self) -> int:
        return len(self.season)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays by name, to be stored."""
        arrays: dict[str, NDArray[Any]] = {
            field.name: getattr(self, field.name) for field in fields(TotalScores) if field.name != "forecasts"
        }
        return arrays | named_columns(self.forecasts)

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> TotalScores:
        """Restore what `to_arrays` returned.

        Raises:
            KeyError, TypeError, ValueError: if an array is missing or unknown.
        """
        of_games, forecasts = split_columns(arrays)
        by_name = {name: TotalForecasts(**values) for name, values in sorted(forecasts.items())}
        return cls(**of_games, forecasts=by_name)


def pool_totals(folds: Sequence[TotalScores]) -> TotalScores:
    """Pool the games of several folds into one, with the forecasters that all of them have.

    Raises:
        ValueError: if there is no fold.
    """
    if not folds:
        raise ValueError("no fold to pool")
    joined: list[dict[str, NDArray[Any]]] = [fold.to_arrays() for fold in folds]
    common = [key for key in joined[0] if all(key in each for each in joined)]
    return TotalScores.from_arrays({key: np.concatenate([each[key] for each in joined]) for key in common})


def lattice_totals(model: TotalModel, games: TotalGames) -> TotalForecasts:
    """Score the forecasts of games by the tables of one source of the expected total.

    Args:
        model: the tables.
        games: n games, later than all those that the tables are fitted on.
    """
    scores = WholeNumberScores(len(games.season), SEED)
    for column, (index, minute) in enumerate(CASES):
        horizon, inputs = HORIZONS[index], games.at(minute)
        made = model.distribution(horizon, minute, inputs)
        scores.score(column, inputs.points + model.to_come(horizon, minute, inputs), made, games.outcomes[:, index])
    return TotalForecasts(scores.point, scores.crps, scores.lower, scores.upper, scores.pit, scores.held)
