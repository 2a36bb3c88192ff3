"""Converts PredictColumns requests and responses (many games in one message, one array per field)."""

from __future__ import annotations

from typing import Final

import numpy as np

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_models.errors import InvalidMargin, InvalidPattern, InvalidQuantile
from dejavu_models.forecast_query import DEFAULT_ALPHA, ColumnsForecast, ColumnsQuery, check_level_count
from dejavu_server.api.converters.fields import InvalidBatch, what_if_horizon

MAX_COLUMNS: Final = 5000
"""Maximum number of games per request: their patterns take at most 1.9 MB, below the limit of a message."""

MAX_QUANTILE_VALUES: Final = 100_000
"""Maximum number of quantiles of an answer, games × levels: 800 kB."""


def columns_query(request: pb.PredictColumnsRequest) -> ColumnsQuery:
    """Read a request of columns.

    Raises:
        InvalidInput: if a value is invalid; names the field, and `others` has the errors of further fields.
    """
    games, levels = len(request.minutes), len(request.quantile_levels)
    # Check all sizes before copying: a message can hold a million slots.
    if not 1 <= games <= MAX_COLUMNS:
        raise InvalidBatch(f"{games} games", f"1 to {MAX_COLUMNS}", field="minutes")
    horizon = what_if_horizon(request.horizon)
    longest = games * horizon.last_slot
    if len(request.patterns) > longest:
        raise InvalidPattern(f"{len(request.patterns)} slots", f"at most {longest} for {games} games", field="patterns")
    if len(request.pregame_margins) > games:
        expected = f"none, or one for each of the {games} games"
        raise InvalidMargin(f"{len(request.pregame_margins)} margins", expected, field="pregame_margins")
    check_level_count(levels)
    if games * levels > MAX_QUANTILE_VALUES:
        expected = f"at most {MAX_QUANTILE_VALUES // games} for {games} games"
        raise InvalidQuantile(f"{levels} levels", expected, field="quantile_levels")
    return ColumnsQuery(
        patterns=np.array(request.patterns, dtype=float),
        minutes=np.array(request.minutes, dtype=np.int64),
        horizon=horizon,
        alpha=request.alpha if request.HasField("alpha") else DEFAULT_ALPHA,
        margins=np.array(request.pregame_margins, dtype=float) if request.pregame_margins else np.full(games, np.nan),
        quantile_levels=tuple(request.quantile_levels),
    )


def columns_message(columns: ColumnsForecast) -> pb.PredictColumnsResponse:
    """Convert columns to a message."""
    return pb.PredictColumnsResponse(
        model_version=columns.model_version,
        calibration_sequence=columns.calibration_sequence,
        point_forecasts=columns.points.tolist(),
        interval_lowers=columns.lower.tolist(),
        interval_uppers=columns.upper.tolist(),
        home_lead_probabilities=columns.home_lead_probabilities.tolist(),
        quantiles=columns.quantiles.ravel().tolist(),
    )
