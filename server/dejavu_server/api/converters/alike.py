"""Requests that differ in their numbers only: which they are, and what differs in the forecasts that answer them."""

from __future__ import annotations

from typing import Final

from dejavu.v1.forecast_pb2 import Forecast
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_models.forecast_query import MAX_QUANTILES
from dejavu_models.forecaster.alike import AlikeNumbers

ALIKE_FIELDS: Final = frozenset(
    PredictRequest.DESCRIPTOR.fields_by_name[name]
    for name in ("pattern", "alpha", "horizon", "pregame_margin", "quantile_levels", "model_version")
)
"""Fields of requests that may be alike."""


def alike_key(request: PredictRequest) -> object:
    """Returns what is equal for requests that differ in their numbers only; None if it has more than those.

    Also None if it has too many quantiles: to copy and hash a message full of them would take longer than to refuse it.
    """
    for field, _ in request.ListFields():  # a generator takes twice as long
        if field not in ALIKE_FIELDS:
            return None
    if len(request.quantile_levels) > MAX_QUANTILES:
        return None
    return (
        len(request.pattern),
        request.horizon,
        request.alpha if request.HasField("alpha") else None,
        tuple(request.quantile_levels) if request.quantile_levels else (),
        request.model_version,
        request.HasField("pregame_margin"),
    )


def fill(forecast: Forecast, numbers: AlikeNumbers, margin: float | None) -> None:
    """Sets the numbers of a forecast that follow from its game.

    Args:
        forecast: a forecast of another game with the same options.
        numbers: the numbers.
        margin: expected final differential before the game, in points; None if unknown.
    """
    forecast.point_forecast, forecast.home_lead_probability = numbers.point, numbers.home_lead_probability
    forecast.interval_lower, forecast.interval_upper = numbers.lower, numbers.upper
    if margin is not None:
        forecast.expected_margin = margin
    if forecast.HasField("adaptation"):
        ends = forecast.adaptation
        ends.static_lower, ends.static_upper = numbers.static_lower, numbers.static_upper
        ends.adapted_lower, ends.adapted_upper = numbers.adapted_lower, numbers.adapted_upper
    if numbers.quantiles:
        for quantile, value in zip(forecast.quantiles, numbers.quantiles, strict=True):
            quantile.value = value
