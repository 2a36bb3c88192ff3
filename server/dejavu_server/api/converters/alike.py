"""Requests of a batch that differ in their numbers only: they are forecast as columns, and answered from one template.

Most batches score many games with the same options. What an answer says beside its numbers is then the same for all of
them; it is made once, by the path of a single request, and only the numbers are set in a copy of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import numpy as np

from dejavu.v1.prediction_service_pb2 import PredictBatchResult, PredictRequest
from dejavu_models.columns import ColumnsForecast, ColumnsQuery
from dejavu_models.forecast_query import DEFAULT_ALPHA
from dejavu_server.api.converters.fields import horizon_of

LEAST: Final = 8
"""Least number of requests that are answered together: of fewer, the template costs more than it saves."""

ROWS_PER_TURN: Final = 128
"""Rows to read or to write before yielding to other calls."""

_FIELDS: Final = frozenset(
    PredictRequest.DESCRIPTOR.fields_by_name[name].number
    for name in ("pattern", "alpha", "horizon", "pregame_margin", "quantile_levels", "model_version")
)
"""Fields of requests that columns have."""


async def alike(requests: Sequence[PredictRequest]) -> list[list[int]]:
    """Returns the indices of requests that differ in their numbers only, by group, of LEAST or more."""
    if len(requests) < LEAST:
        return []
    groups: dict[object, list[int]] = {}
    for index, request in enumerate(requests):
        if index % ROWS_PER_TURN == 0:
            await asyncio.sleep(0)
        # A margin that is not a number is refused, and unknown in columns.
        if request.pregame_margin == request.pregame_margin and all(
            field.number in _FIELDS for field, _ in request.ListFields()
        ):
            key = (
                len(request.pattern),
                request.horizon,
                request.alpha if request.HasField("alpha") else None,
                tuple(request.quantile_levels) if request.quantile_levels else (),
                request.model_version,
                request.HasField("pregame_margin"),
            )
            groups.setdefault(key, []).append(index)
    return [rows for rows in groups.values() if len(rows) >= LEAST]


def alike_query(requests: Sequence[PredictRequest]) -> ColumnsQuery:
    """Returns the columns of requests that differ in their numbers only.

    Raises:
        InvalidInput: if a value is invalid.
    """
    first = requests[0]
    slots: list[float] = []
    if len(first.pattern) <= horizon_of(first.horizon).last_slot:  # else it is refused, without a copy
        for request in requests:
            slots.extend(request.pattern)
    return ColumnsQuery(
        patterns=np.array(slots),
        minutes=np.full(len(requests), len(first.pattern)),
        horizon=horizon_of(first.horizon),
        alpha=first.alpha if first.HasField("alpha") else DEFAULT_ALPHA,
        pregame_margins=(
            np.array([request.pregame_margin for request in requests])
            if first.HasField("pregame_margin")
            else np.zeros(0)
        ),
        quantile_levels=tuple(first.quantile_levels),
    )


async def alike_results(
    rows: Sequence[int], template: PredictBatchResult, parts: Sequence[ColumnsForecast], query: ColumnsQuery
) -> dict[int, PredictBatchResult]:
    """Returns the results of requests by their indices; none if the model changed after the template was made.

    Args:
        rows: the indices.
        template: the result of a request that is like them.
        parts: their forecasts, with both intervals.
        query: what was asked.
    """
    forecast = template.forecast
    made = (forecast.model_version, forecast.calibration_sequence)
    if any((part.model_version, part.calibration_sequence) != made for part in parts):
        return {}
    adapted, quantiles = forecast.HasField("adaptation"), bool(query.quantile_levels)
    margins = query.pregame_margins.tolist()
    results: dict[int, PredictBatchResult] = {}
    for part in parts:
        ends = np.column_stack([part.points, part.lower, part.upper, part.home_lead_probabilities]).tolist()
        of_adaptation = np.hstack([part.static, part.adapted]).tolist() if adapted else []  # type: ignore[list-item]
        of_quantiles = part.quantiles.tolist() if quantiles else []
        for place, (point, lower, upper, probability) in enumerate(ends):
            done = len(results)
            if done % ROWS_PER_TURN == 0:
                await asyncio.sleep(0)
            result = results[rows[done]] = PredictBatchResult()
            result.CopyFrom(template)
            message = result.forecast
            message.point_forecast = point
            message.interval_lower = lower
            message.interval_upper = upper
            message.home_lead_probability = probability
            if margins:
                message.expected_margin = margins[done]
            if adapted:
                adaptation = message.adaptation
                (
                    adaptation.static_lower,
                    adaptation.static_upper,
                    adaptation.adapted_lower,
                    adaptation.adapted_upper,
                ) = of_adaptation[place]
            if quantiles:
                for quantile, value in zip(message.quantiles, of_quantiles[place], strict=True):
                    quantile.value = value
    return results
