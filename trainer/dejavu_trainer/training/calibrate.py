"""Fits predictive distributions to the models' residuals on calibration games."""

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
from dejavu_models.uncertainty.conformal import PredictiveDistribution
from dejavu_models.uncertainty.conformal_cells import MIN_CELL, min_cell_size
from dejavu_trainer.data.games import Games

_MODELS = ("ensemble", "dejavu", "lstm", "linear", "persistence")
_SHOWN = ((Horizon.HALFTIME, 6), (Horizon.HALFTIME, 18), (Horizon.FINAL, 18), (Horizon.FINAL, 36))
"""Situations whose point forecast errors are recorded in the bundle."""


class CalibrationForecasts(NamedTuple):
    """Forecasts of n games at one minute, with one source of the margin."""

    minute: int
    mode: MarginSource
    leads: Floats
    predictions: Predictions


def forecast_calibration_games(
    models: PointEnsemble, games: Games, margins: Mapping[MarginSource, Floats]
) -> Iterator[CalibrationForecasts]:
    """Yields the models' forecasts of games for every minute and every margin source.

    Args:
        models: the models.
        games: n games.
        margins: by margin source, (n,), expected margins before tip-off, in points; NaN where unknown.
    """
    levels = games.levels
    for mode, mode_margins in margins.items():
        residuals = models.lstm.residuals(levels, mode_margins)
        for minute in models.minutes:
            patterns = np.ascontiguousarray(levels[:, :minute])
            predictions = models.predict_from_residuals(patterns, mode_margins, residuals[:, minute - 1])
            yield CalibrationForecasts(minute, mode, patterns[:, -1], predictions)


def calibrate(
    models: PointEnsemble, games: Games, margins: Floats, frozen_margins: Floats, min_cell: int = MIN_CELL
) -> Calibration:
    """Fits the ensemble's predictive distributions, for every horizon and minute of the models and every margin source.

    Args:
        models: the models of the bundle.
        games: n games unseen by the models.
        margins: (n,), expected margins before tip-off with carried ratings, in points.
        frozen_margins: (n,), the same with ratings frozen during a season, like those of a bundle.
        min_cell: minimum number of games of a cell by lead; see `conformal_cells.min_cell_size`.

    Returns:
        The calibration, rounded as it is stored in a bundle.
    """
    outcomes = games.outcomes
    margins_by_source = {
        MarginSource.UNKNOWN: np.full_like(margins, np.nan),
        MarginSource.KNOWN: margins,
        MarginSource.RATED: frozen_margins,
    }
    distributions = {
        Situation(horizon, forecast.minute, forecast.mode): PredictiveDistribution.fit(
            horizon,
            forecast.predictions.ensemble[:, index],
            forecast.leads,
            outcomes[:, index],
            scales=models.linear.scales[
                index,
                forecast.minute,
                MarginSource.UNKNOWN if forecast.mode == MarginSource.UNKNOWN else MarginSource.KNOWN,
            ].tolist(),
            min_cell=min_cell_size(horizon, forecast.minute, min_cell),
        )
        for forecast in forecast_calibration_games(models, games, margins_by_source)
        for index, horizon in enumerate(HORIZONS)
        if forecast.minute <= horizon.last_slot
    }
    return Calibration(distributions).rounded()


def measure(models: PointEnsemble, games: Games, margins: Floats, seed: int) -> list[MetricRecord]:
    """Computes errors of the point forecasts with known teams, on games unseen by the models.

    The errors are out-of-sample for the point forecasts, but not for the intervals, which are calibrated on these
    games. To evaluate intervals, use a backtest or `dejavu-trainer evaluate` on a later season.

    Args:
        models: the models.
        games: n games unseen by the models.
        margins: (n,), expected margins before tip-off, in points.
        seed: random seed of the bootstrap over games.
    """
    bootstrap = metrics.GameBootstrap(len(games), seed=seed)
    outcomes = games.outcomes
    records = []
    for forecast in forecast_calibration_games(models, games, {MarginSource.KNOWN: margins}):
        for index, horizon in enumerate(HORIZONS):
            if (horizon, forecast.minute) not in _SHOWN:
                continue
            name = f"calibration.{horizon.value}.minute_{forecast.minute}"
            errors = {}
            for model in _MODELS:
                forecasts = getattr(forecast.predictions, model)
                points = forecasts if model == "persistence" else forecasts[:, index]
                errors[model] = metrics.absolute_error(points, outcomes[:, index])
                records.append(_metric(f"{name}.{model}.mae", bootstrap.mean(errors[model])))
            ratio = bootstrap.ratio(errors["ensemble"], errors["persistence"])
            records.append(_metric(f"{name}.ensemble.mae_over_persistence", ratio))
    return records


def _metric(name: str, estimate: metrics.Estimate) -> MetricRecord:
    return MetricRecord(name=name, value=estimate.value, lower=estimate.lower, upper=estimate.upper)
