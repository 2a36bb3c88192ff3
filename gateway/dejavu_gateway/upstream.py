"""Calls of the server with request messages, and the server's stream, connection by connection.

The typed methods of AsyncDejavuClient take Python values and read lists page by page; a gateway passes messages on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final, Generic, TypeVar

import grpc
from google.protobuf.message import Message

from dejavu.inference import open_inference_pb2 as inference
from dejavu.ops.v1 import operations_service_pb2 as operations
from dejavu.v1 import model_service_pb2 as models
from dejavu.v1 import prediction_service_pb2 as prediction
from dejavu.v1 import record_service_pb2 as record
from dejavu_client import AsyncDejavuClient
from dejavu_client.config import SCORES_TIMEOUT
from dejavu_client.transport.caller import Stubs
from dejavu_client.transport.subscription import StreamResumption

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


class Rpc(Generic[RequestT, ResponseT]):
    """An RPC with one response.

    Attributes:
        name: its name in the contract.
        request: type of its request.
        response: type of its response.
        timeout: deadline in seconds; None for the client's.
    """

    def __init__(self, request: type[RequestT], response: type[ResponseT], timeout: float | None = None) -> None:
        self.name = request.DESCRIPTOR.name.removesuffix("Request")
        self.request, self.response, self.timeout = request, response, timeout
        (service,) = request.DESCRIPTOR.file.services_by_name.values()
        self._path = f"/{service.full_name}/{self.name}"

    def stub(self, connection: Stubs) -> grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT]:
        """Return the RPC of a connection; the client's library has no stubs of the Open Inference Protocol."""
        return connection.channel.unary_unary(
            self._path,
            request_serializer=self.request.SerializeToString,
            response_deserializer=self.response.FromString,
        )


PREDICT: Final = Rpc(prediction.PredictRequest, prediction.PredictResponse)
PREDICT_BATCH: Final = Rpc(prediction.PredictBatchRequest, prediction.PredictBatchResponse, 30.0)
ASSESS_RISK: Final = Rpc(prediction.AssessRiskRequest, prediction.AssessRiskResponse)
LIST_MODELS: Final = Rpc(models.ListModelsRequest, models.ListModelsResponse)
GET_MODEL: Final = Rpc(models.GetModelRequest, models.GetModelResponse)
COMPARE_MODELS: Final = Rpc(models.CompareModelsRequest, models.CompareModelsResponse, SCORES_TIMEOUT)
LIST_MODEL_CHANGES: Final = Rpc(models.ListModelChangesRequest, models.ListModelChangesResponse)
GET_PREDICTION: Final = Rpc(record.GetPredictionRequest, record.GetPredictionResponse)
LIST_PREDICTIONS: Final = Rpc(record.ListPredictionsRequest, record.ListPredictionsResponse, 10.0)
GET_SCORECARD: Final = Rpc(record.GetScorecardRequest, record.GetScorecardResponse, SCORES_TIMEOUT)
GET_LEADERBOARD: Final = Rpc(record.GetLeaderboardRequest, record.GetLeaderboardResponse, SCORES_TIMEOUT)
GET_SERVICE_STATS: Final = Rpc(operations.GetServiceStatsRequest, operations.GetServiceStatsResponse)
GET_CHECKPOINT: Final = Rpc(record.GetCheckpointRequest, record.GetCheckpointResponse)
SERVER_LIVE: Final = Rpc(inference.ServerLiveRequest, inference.ServerLiveResponse)
SERVER_READY: Final = Rpc(inference.ServerReadyRequest, inference.ServerReadyResponse)
MODEL_READY: Final = Rpc(inference.ModelReadyRequest, inference.ModelReadyResponse)
SERVER_METADATA: Final = Rpc(inference.ServerMetadataRequest, inference.ServerMetadataResponse)
MODEL_METADATA: Final = Rpc(inference.ModelMetadataRequest, inference.ModelMetadataResponse)
MODEL_INFER: Final = Rpc(inference.ModelInferRequest, inference.ModelInferResponse)


class UpstreamClient(AsyncDejavuClient):
    """Client of the server for a gateway; the arguments are those of AsyncDejavuClient."""

    async def call(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Make a call.

        Raises:
            DejavuClientError: if the server refuses it, or does not answer.
        """
        return await self._unary(rpc.name, rpc.stub, request, rpc.timeout)

    def connection(self, subscription: StreamResumption) -> AsyncGenerator[prediction.StreamPredictionsResponse, None]:
        """Yield the events of one connection of a subscription, until it is lost.

        Raises:
            DejavuClientError: the reason why the connection ended; pass it to `subscription.connection_lost`.
        """
        return self._connection("StreamPredictions", lambda stubs: stubs.prediction.StreamPredictions, subscription)
