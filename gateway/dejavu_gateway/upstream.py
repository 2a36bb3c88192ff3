"""Calls of the server with request messages, and the server's stream, connection by connection.

The typed methods of AsyncDejavuClient take Python values and read lists page by page; a gateway passes messages on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message

from dejavu.inference import open_inference_pb2 as inference
from dejavu.ops.v1 import operations_service_pb2 as operations
from dejavu.v1 import model_service_pb2 as models
from dejavu.v1 import prediction_service_pb2 as prediction
from dejavu.v1 import record_service_pb2 as record
from dejavu_client import AsyncDejavuClient
from dejavu_client.config import SCORES_TIMEOUT
from dejavu_client.transport.aio_caller import AsyncConnection
from dejavu_client.transport.subscription import StreamResumption

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


@dataclass(frozen=True, slots=True, eq=False)
class Rpc(Generic[RequestT, ResponseT]):
    """An RPC with one response.

    Attributes:
        name: its name in the contract.
        request: type of its request.
        response: type of its response.
        stub: selects the RPC from a connection's stubs.
        timeout: deadline in seconds; None for the client's.
    """

    name: str
    request: type[RequestT]
    response: type[ResponseT]
    stub: Callable[[AsyncConnection], Any]
    timeout: float | None = None


PREDICT: Final = Rpc("Predict", prediction.PredictRequest, prediction.PredictResponse, lambda c: c.prediction.Predict)
PREDICT_BATCH: Final = Rpc(
    "PredictBatch",
    prediction.PredictBatchRequest,
    prediction.PredictBatchResponse,
    lambda c: c.prediction.PredictBatch,
    timeout=30.0,
)
ASSESS_RISK: Final = Rpc(
    "AssessRisk", prediction.AssessRiskRequest, prediction.AssessRiskResponse, lambda c: c.prediction.AssessRisk
)
LIST_MODELS: Final = Rpc(
    "ListModels", models.ListModelsRequest, models.ListModelsResponse, lambda c: c.models.ListModels
)
GET_MODEL: Final = Rpc("GetModel", models.GetModelRequest, models.GetModelResponse, lambda c: c.models.GetModel)
COMPARE_MODELS: Final = Rpc(
    "CompareModels",
    models.CompareModelsRequest,
    models.CompareModelsResponse,
    lambda c: c.models.CompareModels,
    SCORES_TIMEOUT,
)
LIST_MODEL_CHANGES: Final = Rpc(
    "ListModelChanges",
    models.ListModelChangesRequest,
    models.ListModelChangesResponse,
    lambda c: c.models.ListModelChanges,
)
GET_PREDICTION: Final = Rpc(
    "GetPrediction", record.GetPredictionRequest, record.GetPredictionResponse, lambda c: c.record.GetPrediction
)
LIST_PREDICTIONS: Final = Rpc(
    "ListPredictions",
    record.ListPredictionsRequest,
    record.ListPredictionsResponse,
    lambda c: c.record.ListPredictions,
    timeout=10.0,
)
GET_SCORECARD: Final = Rpc(
    "GetScorecard",
    record.GetScorecardRequest,
    record.GetScorecardResponse,
    lambda c: c.record.GetScorecard,
    SCORES_TIMEOUT,
)
GET_LEADERBOARD: Final = Rpc(
    "GetLeaderboard",
    record.GetLeaderboardRequest,
    record.GetLeaderboardResponse,
    lambda c: c.record.GetLeaderboard,
    SCORES_TIMEOUT,
)
GET_SERVICE_STATS: Final = Rpc(
    "GetServiceStats",
    operations.GetServiceStatsRequest,
    operations.GetServiceStatsResponse,
    lambda c: c.operations.GetServiceStats,
)
GET_CHECKPOINT: Final = Rpc(
    "GetCheckpoint", record.GetCheckpointRequest, record.GetCheckpointResponse, lambda c: c.record.GetCheckpoint
)


def _inference(name: str) -> Rpc[Any, Any]:
    """Return an RPC of the Open Inference Protocol, for which the client's library has no stubs."""
    request, response = getattr(inference, f"{name}Request"), getattr(inference, f"{name}Response")

    def stub(connection: AsyncConnection) -> Any:
        return connection.channel.unary_unary(
            f"/inference.GRPCInferenceService/{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    return Rpc(name, request, response, stub)


SERVER_LIVE: Final = _inference("ServerLive")
SERVER_READY: Final = _inference("ServerReady")
MODEL_READY: Final = _inference("ModelReady")
SERVER_METADATA: Final = _inference("ServerMetadata")
MODEL_METADATA: Final = _inference("ModelMetadata")
MODEL_INFER: Final = _inference("ModelInfer")


class UpstreamClient(AsyncDejavuClient):
    """Client of the server for a gateway; the arguments are those of AsyncDejavuClient."""

    async def call(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Make a call.

        Raises:
            DejavuClientError: if the server refuses it, or does not answer.
        """
        response: ResponseT = await self._unary(rpc.name, rpc.stub, request, rpc.timeout)
        return response

    def connection(self, subscription: StreamResumption) -> AsyncGenerator[prediction.StreamPredictionsResponse, None]:
        """Yield the events of one connection of a subscription, until it is lost.

        Raises:
            DejavuClientError: the reason why the connection ended; pass it to `subscription.connection_lost`.
        """
        return self._connection("StreamPredictions", lambda stubs: stubs.prediction.StreamPredictions, subscription)
