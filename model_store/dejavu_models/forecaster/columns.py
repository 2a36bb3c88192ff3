"""Forecasts of many games as columns, by the compiled models: no object for a game."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dejavu_models.columns import ColumnsForecast, ColumnsQuery
from dejavu_models.forecaster.active_state import ActiveState
from dejavu_models.point.compiled import CompiledModels
from dejavu_models.types import HORIZONS, AdaptationMode, Forecast, MarginSource
from dejavu_models.uncertainty.adaptive import quarter_of
from dejavu_models.uncertainty.calibration import Situation
from dejavu_models.uncertainty.issued import adapted_probability, adapted_scores
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration


def compiled_columns(
    models: CompiledModels, calibration: LatticeCalibration, state: ActiveState, query: ColumnsQuery, version: str
) -> ColumnsForecast:
    """Forecasts games in one pass for each minute at which patterns end.

    Args:
        models: the point models.
        calibration: the distributions around them.
        state: online state.
        query: the request.
        version: version of the model.
    """
    offsets, margins = query.offsets, query.margins
    leads = query.patterns[offsets[1:] - 1]
    points = models.points(query.patterns, offsets, margins)[:, HORIZONS.index(query.horizon)]
    home, known = np.empty(len(query)), ~np.isnan(margins)
    values = np.empty((len(query), 2 + len(query.quantile_levels)))
    for minute in np.unique(query.minutes).tolist():
        adapter = state.adapters.get((query.horizon, quarter_of(minute)))
        scores = adapter.map if adapter is not None and state.mode is AdaptationMode.ON else None
        grid = adapted_scores(scores, query.alpha, query.quantile_levels)
        for source in (MarginSource.UNKNOWN, MarginSource.KNOWN):
            rows = np.flatnonzero((query.minutes == minute) & (known == (source is MarginSource.KNOWN)))
            if not len(rows):
                continue
            situation = Situation(query.horizon, minute, source)
            before = np.nan_to_num(margins[rows])
            home[rows], values[rows] = calibration.columns(situation, points[rows], leads[rows], before, grid)
            if scores is not None:
                home[rows] = [adapted_probability(scores, each) for each in home[rows].tolist()]
    return ColumnsForecast(
        model_version=version,
        calibration_sequence=state.sequence,
        points=points,
        lower=np.minimum(values[:, 0], np.floor(points)),
        upper=np.maximum(values[:, 1], np.ceil(points)),
        home_lead_probabilities=home,
        quantiles=values[:, 2:],
    )


def columns_of(forecasts: Sequence[Forecast], levels: int, version: str, sequence: int) -> ColumnsForecast:
    """Returns the columns of forecasts.

    Args:
        forecasts: the forecasts.
        levels: number of their quantiles.
        version: version of the model.
        sequence: see `ColumnsForecast.calibration_sequence`.
    """
    rows = [(each.point, each.interval.lower, each.interval.upper, each.home_lead_probability) for each in forecasts]
    points, lower, upper, home = np.array(rows).reshape(-1, 4).T
    quantiles = np.array([[quantile.value for quantile in each.quantiles] for each in forecasts]).reshape(-1, levels)
    return ColumnsForecast(version, sequence, points, lower, upper, home, quantiles)
