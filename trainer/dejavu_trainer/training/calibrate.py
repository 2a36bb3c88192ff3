"""What the models leave unexplained on games that none of them saw: the source of intervals and probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from dejavu_models import metrics
from dejavu_models.arrays import Floats
from dejavu_models.manifest import MetricRecord
from dejavu_models.point.ensemble import PointEnsemble, Predictions
from dejavu_models.types import HORIZONS, Horizon, MarginSource
from dejavu_models.uncertainty.calibration import Calibration, Situation
from dejavu_models.uncertainty.conformal import MIN_CELL, PredictiveDistribution, least_cell
from dejavu_trainer.data.games import Games

_MODELS = ("ensemble", "dejavu", "lstm", "linear", "persistence")
_SHOWN = ((Horizon.HALFTIME, 6), (Horizon.HALFTIME, 18), (Horizon.FINAL, 18), (Horizon.FINAL, 36))
"""Of which situations the bundle tells how far its point forecasts were off."""


class CalibrationForecasts(NamedTuple):
    """Forecasts of n games, all at one minute and in one mode."""

    minute: int
    mode: MarginSource
    leads: Floats
    predictions: Predictions


def forecast_calibration_games(
    models: PointEnsemble, games: Games, margins: Mapping[MarginSource, Floats]
) -> Iterator[CalibrationForecasts]:
    """Asks the models for games at every minute that they know, once in each mode.

    Args:
        models: to ask.
        games: n of them.
        margins: by mode, (n,), what was expected of each game before it began, in points; NaN where unknown.
    """
    levels = games.levels
    for mode, told in margins.items():
        residuals = models.lstm.residuals(levels, told)
        for minute in models.minutes:
            patterns = np.ascontiguousarray(levels[:, :minute])
            predictions = models.predict_from_residuals(patterns, told, residuals[:, minute - 1])
            yield CalibrationForecasts(minute, mode, patterns[:, -1], predictions)


def calibrate(
    models: PointEnsemble, games: Games, margins: Floats, standing: Floats, min_cell: int = MIN_CELL
) -> Calibration:
    """The predictive distributions of the ensemble, for every horizon and minute that the models know, in each mode.

    Args:
        models: the very ones that ship; what they are asked with decides how far they are off.
        games: n that the models have not seen.
        margins: (n,), what was expected of each before it began, with ratings carried from game to game, in points.
        standing: (n,), the same with ratings that stand still during a season, as those of a bundle do.
        min_cell: the fewest games of a cell by lead; see `conformal.least_cell`.

    Returns:
        The calibration as it will be read from a bundle.
    """
    outcomes = games.outcomes
    told = {
        MarginSource.UNKNOWN: np.full_like(margins, np.nan),
        MarginSource.KNOWN: margins,
        MarginSource.RATED: standing,
    }
    distributions = {
        Situation(horizon, asked.minute, asked.mode): PredictiveDistribution.fit(
            horizon,
            asked.predictions.ensemble[:, place],
            asked.leads,
            outcomes[:, place],
            scales=models.linear.scales[
                place, asked.minute, MarginSource.UNKNOWN if asked.mode == MarginSource.UNKNOWN else MarginSource.KNOWN
            ].tolist(),
            min_cell=least_cell(horizon, asked.minute, min_cell),
        )
        for asked in forecast_calibration_games(models, games, told)
        for place, horizon in enumerate(HORIZONS)
        if asked.minute <= horizon.last_slot
    }
    return Calibration(distributions).rounded()


def measure(models: PointEnsemble, games: Games, margins: Floats, seed: int) -> list[MetricRecord]:
    """How far point forecasts with known teams are off on games that are new to the models.

    The figures are honest ones of the point forecasts. They say nothing of the intervals, which are made from these
    games: a backtest and `dejavu-trainer evaluate` on a later season do.

    Args:
        models: to ask.
        games: n that the models have not seen.
        margins: (n,), what was expected of each before it began, in points.
        seed: of the bootstrap over games.
    """
    bootstrap = metrics.GameBootstrap(len(games), seed=seed)
    outcomes = games.outcomes
    records = []
    for asked in forecast_calibration_games(models, games, {MarginSource.KNOWN: margins}):
        for place, horizon in enumerate(HORIZONS):
            if (horizon, asked.minute) not in _SHOWN:
                continue
            name = f"calibration.{horizon.value}.minute_{asked.minute}"
            errors = {}
            for model in _MODELS:
                forecasts = getattr(asked.predictions, model)
                at = forecasts if model == "persistence" else forecasts[:, place]
                errors[model] = metrics.absolute_error(at, outcomes[:, place])
                records.append(_metric(f"{name}.{model}.mae", bootstrap.mean(errors[model])))
            ratio = bootstrap.ratio(errors["ensemble"], errors["persistence"])
            records.append(_metric(f"{name}.ensemble.mae_over_persistence", ratio))
    return records


def _metric(name: str, estimate: metrics.Estimate) -> MetricRecord:
    return MetricRecord(name=name, value=estimate.value, lower=estimate.lower, upper=estimate.upper)
