"""Requests of a batch that differ in their numbers only: they are forecast as columns, and answered from one template.

Most batches score many games with the same options. What an answer says beside its numbers is then the same for all of
them; it is made once, by the path of a single request, and only the numbers are set in a copy of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np

from dejavu.v1.prediction_service_pb2 import PredictBatchResult, PredictRequest
from dejavu_models.columns import ColumnsForecast, ColumnsQuery
from dejavu_models.forecast_query import DEFAULT_ALPHA
from dejavu_server.api.converters.fields import horizon_of
from dejavu_server.api.yielding import map_yielding

LEAST: Final = 8
"""Least number of requests that are answered together: of fewer, the template costs more than it saves."""

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
    for index, key in enumerate(await map_yielding(_key, requests)):
        if key is not None:
            groups.setdefault(key, []).append(index)
    return [rows for rows in groups.values() if len(rows) >= LEAST]


def _key(request: PredictRequest) -> object:
    """Returns what is equal for requests that differ in their numbers only; None for one that columns cannot hold."""
    if any(field.number not in _FIELDS for field, _ in request.ListFields()):
        return None
    if math.isnan(request.pregame_margin):  # refused, and unknown in columns
        return None
    return (
        len(request.pattern),
        request.horizon,
        request.alpha if request.HasField("alpha") else None,
        tuple(request.quantile_levels) if request.quantile_levels else (),
        request.model_version,
        request.HasField("pregame_margin"),
    )


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
    margins = query.pregame_margins.tolist() or [None] * len(rows)
    columns = [
        (part.points, part.lower, part.upper, part.home_lead_probabilities, part.static, part.adapted) for part in parts
    ]
    numbers = np.concatenate([np.column_stack(each) for each in columns]).tolist()  # type: ignore[arg-type]  # not None
    quantiles = np.concatenate([part.quantiles for part in parts]).tolist()
    results = await map_yielding(partial(_filled, template), numbers, quantiles, margins)
    return dict(zip(rows, results, strict=True))


def _filled(
    template: PredictBatchResult, numbers: Sequence[float], quantiles: Sequence[float], margin: float | None
) -> PredictBatchResult:
    """Returns a copy of a result with other numbers: those of `ColumnsForecast`, in the order of its attributes."""
    result = PredictBatchResult()
    result.CopyFrom(template)
    forecast = result.forecast
    point, lower, upper, probability, *of_adaptation = numbers
    forecast.point_forecast, forecast.home_lead_probability = point, probability
    forecast.interval_lower, forecast.interval_upper = lower, upper
    if margin is not None:
        forecast.expected_margin = margin
    if forecast.HasField("adaptation"):
        ends = forecast.adaptation
        ends.static_lower, ends.static_upper, ends.adapted_lower, ends.adapted_upper = of_adaptation
    for quantile, value in zip(forecast.quantiles, quantiles, strict=True):
        quantile.value = value
    return result
