"""What-ifs and their cached answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME, Forecast
from dejavu_server.api.converters.fields import timestamp

NOW = datetime(2026, 1, 15, 0, 30, tzinfo=UTC)

LEADS = (0, 2, 4, 3, 5, 7, 6, 4, 4, 6, 8, 9, 11, 10, 8, 7, 9)
"""The first 17 minutes; `what_if` adds the 18th."""


def answered(number: int, size: int = 0, generated: datetime = NOW) -> pb.PredictResponse:
    """Return an answer that is current for a minute, of `size` bytes or some more."""
    forecast = Forecast(point_forecast=number, model_version="model", horizon=HORIZON_HALFTIME, home_team="x" * size)
    forecast.generated_time.CopyFrom(timestamp(generated))
    forecast.expires_time.CopyFrom(timestamp(generated + timedelta(minutes=1)))
    return pb.PredictResponse(forecast=forecast)


def what_if(number: float = 0.0) -> pb.PredictRequest:
    """Return a what-if that is distinct for each number."""
    return pb.PredictRequest(pattern=[*LEADS, 11 + number])


def untimed(response: pb.PredictResponse) -> bytes:
    """Return a response without the times at which it was computed and expires."""
    copy = pb.PredictResponse.FromString(response.SerializeToString())
    copy.forecast.ClearField("generated_time")
    copy.forecast.ClearField("expires_time")
    return copy.SerializeToString(deterministic=True)
