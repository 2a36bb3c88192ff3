"""What-ifs and their cached answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_server.forecasting.cache.answers import Answer

NOW = datetime(2026, 1, 15, 0, 30, tzinfo=UTC)

LEADS = (0, 2, 4, 3, 5, 7, 6, 4, 4, 6, 8, 9, 11, 10, 8, 7, 9)
"""The first 17 minutes; `what_if` adds the 18th."""


def cached(data: bytes = b"answer", seconds: float = 60.0, generated: datetime = NOW) -> Answer:
    """Return an answer that is valid for `seconds`."""
    return Answer(data, "model", "halftime", generated, generated + timedelta(seconds=seconds))


def what_if(number: float = 0.0) -> pb.PredictRequest:
    """Return a what-if that is distinct for each number."""
    return pb.PredictRequest(pattern=[*LEADS, 11 + number])


def untimed(response: pb.PredictResponse) -> bytes:
    """Return a response without the times at which it was computed and expires."""
    copy = pb.PredictResponse.FromString(response.SerializeToString())
    copy.forecast.ClearField("generated_time")
    copy.forecast.ClearField("expires_time")
    return copy.SerializeToString(deterministic=True)
