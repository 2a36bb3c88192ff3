"""The typed client, the poller and the command line.

What is listed in `__all__` is the public surface, and that of two modules: `errors`, and `poller`, which watches an
evening of games and tells callbacks of yours (extra `live`, for `dejavu_feed.nba.NbaFeed`). Other modules are an
implementation detail.
"""

from __future__ import annotations

from dejavu.v1.forecast_pb2 import Forecast
from dejavu.v1.model_service_pb2 import Model
from dejavu.v1.prediction_service_pb2 import PredictBatchResult, PredictRequest, StreamPredictionsResponse
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.client import DejavuClient
from dejavu_client.errors import (
    CallCancelledError,
    ClientClosedError,
    DeadlineExceededError,
    DejavuClientError,
    FailedPreconditionError,
    FieldViolation,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
)
from dejavu_client.health import HealthStatus
from dejavu_client.requests import FINAL, HALFTIME, predict_request
from dejavu_client.stats import CallStatistics, MethodStatistics

__all__ = [
    "FINAL",
    "HALFTIME",
    "AsyncDejavuClient",
    "CallCancelledError",
    "CallStatistics",
    "ClientClosedError",
    "DeadlineExceededError",
    "DejavuClient",
    "DejavuClientError",
    "FailedPreconditionError",
    "FieldViolation",
    "Forecast",
    "HealthStatus",
    "InternalError",
    "InvalidArgumentError",
    "MethodStatistics",
    "Model",
    "NotFoundError",
    "OutOfRangeError",
    "PermissionDeniedError",
    "PredictBatchResult",
    "PredictRequest",
    "ResourceExhaustedError",
    "StreamPredictionsResponse",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "predict_request",
]
