"""Typed client, live poller and command line.

The public API is `__all__` here and in two modules: `errors`, and `poller`, which watches an evening of games and calls
your callbacks (install the extra `live` for `dejavu_feed.nba.NbaFeed`). All other modules are implementation details.
"""

from __future__ import annotations

from dejavu.v1.forecast_pb2 import Forecast, LateReason, WarningReason
from dejavu.v1.market_pb2 import Market, MarketAnswer, Staking
from dejavu.v1.model_service_pb2 import Model
from dejavu.v1.prediction_service_pb2 import (
    PredictBatchResult,
    PredictRequest,
    PredictResponse,
    RiskAssessment,
    RiskGame,
    RiskResult,
    StreamPredictionsResponse,
)
from dejavu.v1.record_pb2 import Checkpoint, Outcome, RecordedPrediction, Settlement
from dejavu.v1.record_service_pb2 import (
    GetLeaderboardResponse,
    GetPredictionResponse,
    LeaderboardMetric,
    ReportOutcomeResponse,
    WithdrawOutcomeResponse,
)
from dejavu.v1.scorecard_pb2 import Scorecard
from dejavu_client.access import TokenFile, tls_credentials
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.client import DejavuClient
from dejavu_client.columns import ForecastColumns
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
from dejavu_client.export import AsyncRecordedPredictions, RecordedPredictions
from dejavu_client.requests import FINAL, HALFTIME, market, predict_request, total_market
from dejavu_client.transport.servers import HealthStatus
from dejavu_client.transport.statistics import CallStatistics, MethodStatistics
from dejavu_feed.live_inputs import LastScore, Possession, Side
from dejavu_feed.moment import Moment

__all__ = [
    "FINAL",
    "HALFTIME",
    "AsyncDejavuClient",
    "AsyncRecordedPredictions",
    "CallCancelledError",
    "CallStatistics",
    "Checkpoint",
    "ClientClosedError",
    "DeadlineExceededError",
    "DejavuClient",
    "DejavuClientError",
    "FailedPreconditionError",
    "FieldViolation",
    "Forecast",
    "ForecastColumns",
    "GetLeaderboardResponse",
    "GetPredictionResponse",
    "HealthStatus",
    "InternalError",
    "InvalidArgumentError",
    "LastScore",
    "LateReason",
    "LeaderboardMetric",
    "Market",
    "MarketAnswer",
    "MethodStatistics",
    "Model",
    "Moment",
    "NotFoundError",
    "OutOfRangeError",
    "Outcome",
    "PermissionDeniedError",
    "Possession",
    "PredictBatchResult",
    "PredictRequest",
    "PredictResponse",
    "RecordedPrediction",
    "RecordedPredictions",
    "ReportOutcomeResponse",
    "ResourceExhaustedError",
    "RiskAssessment",
    "RiskGame",
    "RiskResult",
    "Scorecard",
    "Settlement",
    "Side",
    "Staking",
    "StreamPredictionsResponse",
    "TokenFile",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "WarningReason",
    "WithdrawOutcomeResponse",
    "market",
    "predict_request",
    "tls_credentials",
    "total_market",
]
