"""Forecasts of many games in one pass of the compiled models, without an object per game during the pass."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from operator import add

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.columns import ColumnsForecast, ColumnsQuery
from dejavu_models.components.compiled import CompiledModels
from dejavu_models.forecaster.active_state import ActiveState
from dejavu_models.types import (
    HORIZONS,
    Adaptation,
    AdaptationMode,
    Forecast,
    Horizon,
    Interval,
    MarginSource,
    Quantile,
    WarningReason,
)
from dejavu_models.uncertainty.issued import adapted_probability, adapted_scores
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration, Situation, grid


def compiled_columns(
    models: CompiledModels, calibration: LatticeCalibration, state: ActiveState, query: ColumnsQuery, version: str
) -> tuple[ColumnsForecast, Floats]:
    """Forecast games in one pass for each minute at which patterns end; the numbers equal those of each game alone.

    Args:
        models: the ensemble.
        calibration: the distributions around them.
        state: online state.
        query: the games and their options.
        version: version of the model.

    Returns:
        The forecasts, and the ends of the intervals that are not issued, static or adapted, (n, 2) in points; equal to
        those of the forecasts where no outcome has adapted the intervals.
    """
    offsets, margins, levels = query.offsets, query.margins, query.quantile_levels
    leads = query.patterns[offsets[1:] - 1]
    centers, opinions = models.columns(query.patterns, offsets, margins, HORIZONS.index(query.horizon), line=True)
    points, home, known = np.empty(len(query)), np.empty(len(query)), ~np.isnan(margins)
    given = np.where(known, margins, 0.0)
    values = np.empty((len(query), 4 + len(levels)))
    # In plain Python: grouping with NumPy takes longer than a forecast.
    groups: defaultdict[tuple[int, bool], list[int]] = defaultdict(list)
    for row, group in enumerate(zip(query.minutes.tolist(), known.tolist(), strict=True)):
        groups[group].append(row)
    for (minute, is_known), of_group in groups.items():
        factor = state.factor(query.horizon, minute)
        other = adapted_scores(state.factor(query.horizon, minute, issued=False), query.alpha, ())
        at = grid(*map(add, other, adapted_scores(factor, query.alpha, levels)))
        situation = Situation(query.horizon, minute, MarginSource.LINE if is_known else MarginSource.UNKNOWN)
        rows = np.array(of_group)
        _, tables = calibration.tables(situation)
        made = tables.columns(centers[rows], leads[rows], given[rows], at, opinions, rows)
        points[rows], home[rows], values[rows] = made
        if factor != 1.0:
            home[rows] = [adapted_probability(factor, each) for each in home[rows].tolist()]
    # Widen the intervals to the whole numbers around the points; see `distribution.around_point`.
    for lower in (0, 2):
        np.minimum(values[:, lower], np.floor(points), out=values[:, lower])
        np.maximum(values[:, lower + 1], np.ceil(points), out=values[:, lower + 1])
    values += 0.0  # rounding up may give -0
    return (
        ColumnsForecast(version, state.sequence, points, values[:, 2], values[:, 3], home, values[:, 4:]),
        values[:, :2],
    )


def columns_of(forecasts: Sequence[Forecast], sequence: int, version: str) -> ColumnsForecast:
    """Return forecasts made one by one as columns; `sequence` is their `calibration_sequence`."""
    intervals = [each.interval for each in forecasts]
    return ColumnsForecast(
        model_version=version,
        calibration_sequence=sequence,
        points=np.array([each.point for each in forecasts]),
        lower=np.array([each.lower for each in intervals]),
        upper=np.array([each.upper for each in intervals]),
        home_lead_probabilities=np.array([each.home_lead_probability for each in forecasts]),
        quantiles=np.array([[quantile.value for quantile in each.quantiles] for each in forecasts]),
    )


def forecasts_of(
    columns: ColumnsForecast,
    other_ends: Floats,
    state: ActiveState,
    query: ColumnsQuery,
    warnings: tuple[WarningReason, ...],
) -> list[Forecast]:
    """Return the forecasts that have these numbers, in order.

    Args:
        columns: the numbers.
        other_ends: see `compiled_columns`.
        state: the online state that they were made with.
        query: the games and their options.
        warnings: warnings of the model.
    """
    horizon, alpha, levels = query.horizon, query.alpha, query.quantile_levels
    rows = zip(
        query.minutes.tolist(),
        columns.points.tolist(),
        columns.home_lead_probabilities.tolist(),
        zip(columns.lower.tolist(), columns.upper.tolist(), strict=True),
        other_ends.tolist(),
        columns.quantiles.tolist(),
        query.margins.tolist(),
        strict=True,
    )
    return [
        Forecast(
            horizon=horizon,
            elapsed_minutes=minute,
            alpha=alpha,
            point=point,
            interval=Interval(*ends),
            home_lead_probability=home,
            model_version=columns.model_version,
            quantiles=tuple(map(Quantile, levels, quantiles)),
            expected_margin=None if math.isnan(margin) else margin,
            calibration_sequence=columns.calibration_sequence,
            adaptation=_adaptation(state, horizon, minute, alpha, ends, other_ends),
            warnings=warnings,
        )
        for minute, point, home, ends, other_ends, quantiles, margin in rows
    ]


def _adaptation(
    state: ActiveState, horizon: Horizon, minute: int, alpha: float, ends: Sequence[float], other_ends: Sequence[float]
) -> Adaptation | None:
    mode = state.mode
    if mode is None:
        return None
    issued, other = Interval(*ends), Interval(*other_ends)
    adapter = state.adapter(horizon, minute)
    if adapter is None:
        return Adaptation(mode, issued, issued)
    adapted, static = (issued, other) if mode is AdaptationMode.ON else (other, issued)
    return Adaptation(mode, adapted, static, adapter.games, *adapter.rolling(alpha))
