"""Forecasts of many games as columns, by the compiled models: no object for a game."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.columns import ColumnsForecast, ColumnsQuery
from dejavu_models.forecaster.active_state import ActiveState
from dejavu_models.point.compiled import CompiledModels
from dejavu_models.types import HORIZONS, AdaptationMode, Forecast, MarginSource
from dejavu_models.uncertainty.adaptive import quarter_of
from dejavu_models.uncertainty.calibration import Situation
from dejavu_models.uncertainty.issued import adapted_probability, adapted_scores
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration


def compiled_columns(
    models: CompiledModels,
    calibration: LatticeCalibration,
    state: ActiveState,
    query: ColumnsQuery,
    version: str,
    *,
    both: bool = False,
) -> ColumnsForecast:
    """Forecasts games in one pass for each minute at which patterns end.

    Args:
        models: the point models.
        calibration: the distributions around them.
        state: online state.
        query: the request.
        version: version of the model.
        both: whether to include the intervals as calibrated and as adapted.
    """
    offsets, margins = query.offsets, query.margins
    leads = query.patterns[offsets[1:] - 1]
    points = models.points(query.patterns, offsets, margins)[:, HORIZONS.index(query.horizon)]
    home, known = np.empty(len(query)), ~np.isnan(margins)
    ends, static, adapted = (np.empty((len(query), 2)) for _ in range(3))
    quantiles = np.empty((len(query), len(query.quantile_levels)))
    for minute in np.unique(query.minutes).tolist():
        adapter = state.adapters.get((query.horizon, quarter_of(minute)))
        scores = adapter.map if adapter is not None and state.mode is AdaptationMode.ON else None
        grid = adapted_scores(scores, query.alpha, query.quantile_levels)
        for source in (MarginSource.UNKNOWN, MarginSource.KNOWN):
            rows = np.flatnonzero((query.minutes == minute) & (known == (source is MarginSource.KNOWN)))
            if not len(rows):
                continue
            situation = Situation(query.horizon, minute, source)
            games = (situation, points[rows], leads[rows], np.nan_to_num(margins[rows]))
            home[rows], values = calibration.columns(*games, grid)
            ends[rows], quantiles[rows] = values[:, :2], values[:, 2:]
            if scores is not None:
                home[rows] = [adapted_probability(scores, each) for each in home[rows].tolist()]
            static[rows] = adapted[rows] = ends[rows]
            if both and adapter is not None:  # the intervals are one of both
                other, its_map = (static, None) if scores is not None else (adapted, adapter.map)
                _, other[rows] = calibration.columns(*games, adapted_scores(its_map, query.alpha, ()))
    for each in (ends, static, adapted):
        around_points(each, points)
    return ColumnsForecast(
        model_version=version,
        calibration_sequence=state.sequence,
        points=points,
        lower=ends[:, 0],
        upper=ends[:, 1],
        home_lead_probabilities=home,
        quantiles=quantiles,
        static=static if both else None,
        adapted=adapted if both else None,
    )


def around_points(ends: Floats, points: Floats) -> None:
    """Widens intervals, (n, 2), to the whole numbers around their points, (n,); see `distribution.around_point`."""
    np.minimum(ends[:, 0], np.floor(points), out=ends[:, 0])
    np.maximum(ends[:, 1], np.ceil(points), out=ends[:, 1])


def columns_of(forecasts: Sequence[Forecast], levels: int, version: str, sequence: int) -> ColumnsForecast:
    """Returns the columns of forecasts.

    Args:
        forecasts: the forecasts.
        levels: number of their quantiles.
        version: version of the model.
        sequence: see `ColumnsForecast.calibration_sequence`.

    The intervals as calibrated and as adapted are those of the forecasts' adaptations, or the intervals themselves.
    """
    rows = [(each.point, each.interval.lower, each.interval.upper, each.home_lead_probability) for each in forecasts]
    points, lower, upper, home = np.array(rows).reshape(-1, 4).T
    quantiles = np.array([[quantile.value for quantile in each.quantiles] for each in forecasts]).reshape(-1, levels)
    pairs = [
        (each.interval, each.interval) if each.adaptation is None else (each.adaptation.static, each.adaptation.adapted)
        for each in forecasts
    ]
    static, adapted = np.array([[(end.lower, end.upper) for end in pair] for pair in pairs]).swapaxes(0, 1)
    return ColumnsForecast(version, sequence, points, lower, upper, home, quantiles, static, adapted)
