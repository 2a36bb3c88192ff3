"""Forecasts of many games as columns, by the compiled models: no object for a game."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dejavu_models.columns import ColumnsForecast, ColumnsQuery
from dejavu_models.forecaster.active_state import ActiveState
from dejavu_models.point.compiled import CompiledModels
from dejavu_models.types import HORIZONS, Forecast, MarginSource
from dejavu_models.uncertainty.calibration import Situation
from dejavu_models.uncertainty.issued import adapted_probability
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration


def compiled_columns(
    models: CompiledModels,
    calibration: LatticeCalibration,
    state: ActiveState,
    query: ColumnsQuery,
    version: str,
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
    given = np.where(known, margins, 0.0)
    ends, quantiles = np.empty((len(query), 2)), np.empty((len(query), len(query.quantile_levels)))
    for minute in np.unique(query.minutes).tolist():
        for source in (MarginSource.UNKNOWN, MarginSource.KNOWN):
            rows = np.flatnonzero((query.minutes == minute) & (known == (source is MarginSource.KNOWN)))
            if not len(rows):
                continue
            situation = Situation(query.horizon, minute, source)
            scores, grid, _ = state.scores(situation, query.alpha, query.quantile_levels)
            games = (points[rows], leads[rows], given[rows])
            home[rows], values = calibration.columns(situation, *games, grid)
            ends[rows], quantiles[rows] = values[:, :2], values[:, 2:]
            if scores is not None:
                home[rows] = [adapted_probability(scores, each) for each in home[rows].tolist()]
    # As whole as the numbers around the points; see `distribution.around_point`.
    np.minimum(ends[:, 0], np.floor(points), out=ends[:, 0])
    np.maximum(ends[:, 1], np.ceil(points), out=ends[:, 1])
    return ColumnsForecast(
        model_version=version,
        calibration_sequence=state.sequence,
        points=points,
        lower=ends[:, 0],
        upper=ends[:, 1],
        home_lead_probabilities=home,
        quantiles=quantiles,
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
