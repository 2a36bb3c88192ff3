"""The contract's services: message in, domain call, message out. Errors leave through the interceptor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

import grpc
import structlog

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_models import risk
from dejavu_models.errors import InvalidInput
from dejavu_server.api.converters import prediction
from dejavu_server.api.converters.risk import risk_message, risk_request
from dejavu_server.api.errors import INTERNAL, batch_error, describe
from dejavu_server.forecasting.batcher import CHUNK
from dejavu_server.forecasting.service import ForecastRequest, ForecastService
from dejavu_server.records import IssuedForecast
from dejavu_server.streaming.ledger_manager import LedgerManager

PREDICTION_SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"].full_name

_log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]

MESSAGES_A_TURN = 32
"""How many messages of a batch are read or written before other calls have their turn."""

_T = TypeVar("_T")


class PredictionService:
    """Forecasts: one, many, and as they happen."""

    def __init__(self, issuer: ForecastService, keeper: LedgerManager) -> None:
        self._forecasts = issuer
        self._streams = keeper

    async def predict(self, request: pb.PredictRequest, _: Context) -> pb.PredictResponse:
        """Forecasts one game."""
        issued = await self._forecasts.forecast(prediction.forecast_request(request))
        message = prediction.forecast_message(issued, explanation=request.return_explanation)
        return pb.PredictResponse(forecast=message, market=prediction.market_message_of(issued))

    async def predict_batch(self, request: pb.PredictBatchRequest, _: Context) -> pb.PredictBatchResponse:
        """Forecasts many games, as many in one pass as there may be."""
        requests = prediction.batch_requests(request)
        response = pb.PredictBatchResponse()
        for start in range(0, len(requests), CHUNK):
            chunk = requests[start : start + CHUNK]
            outcomes = await self._answer(await _in_turns(_read, chunk))
            response.results.extend(await _in_turns(_result, chunk, outcomes))
        return response

    def stream_predictions(self, request: pb.StreamPredictionsRequest, _: Context) -> AsyncIterator[bytes]:
        """Sends forecasts as they are recorded: messages that the hub serialised, once for all subscribers."""
        wanted = prediction.stream_request(request)
        return self._streams.subscribe(wanted.game_ids, wanted.resume_token, wanted.include_current)

    async def _answer(self, questions: Sequence[ForecastRequest | InvalidInput]) -> list[IssuedForecast | Exception]:
        """Answers questions of a batch, in order; each fails for itself, and one that could not be read has."""
        readable = [question for question in questions if isinstance(question, ForecastRequest)]
        answers = iter(await self._forecasts.forecast_many(readable))
        return [question if isinstance(question, InvalidInput) else next(answers) for question in questions]

    async def assess_risk(self, request: pb.AssessRiskRequest, _: Context) -> pb.AssessRiskResponse:
        """Tells how unsettled a game is: plain arithmetic, done at once."""
        return risk_message(risk.assess(*risk_request(request)))

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service's methods, for a server to be given."""
        return grpc.method_handlers_generic_handler(
            PREDICTION_SERVICE,
            {
                "Predict": grpc.unary_unary_rpc_method_handler(
                    self.predict, pb.PredictRequest.FromString, pb.PredictResponse.SerializeToString
                ),
                "PredictBatch": grpc.unary_unary_rpc_method_handler(
                    self.predict_batch, pb.PredictBatchRequest.FromString, pb.PredictBatchResponse.SerializeToString
                ),
                # No serializer: the events are bytes already.
                "StreamPredictions": grpc.unary_stream_rpc_method_handler(
                    self.stream_predictions, pb.StreamPredictionsRequest.FromString
                ),
                "AssessRisk": grpc.unary_unary_rpc_method_handler(
                    self.assess_risk, pb.AssessRiskRequest.FromString, pb.AssessRiskResponse.SerializeToString
                ),
            },
        )


async def _in_turns(work: Callable[..., _T], *columns: Sequence[Any]) -> list[_T]:
    """What `map` gives, with other calls let in between: messages of many games take some milliseconds."""
    results = []
    for place, values in enumerate(zip(*columns, strict=True), 1):
        results.append(work(*values))
        if place % MESSAGES_A_TURN == 0:
            await asyncio.sleep(0)
    return results


def _read(request: pb.PredictRequest) -> ForecastRequest | InvalidInput:
    try:
        return prediction.forecast_request(request)
    except InvalidInput as error:
        return error


def _result(request: pb.PredictRequest, outcome: IssuedForecast | Exception) -> pb.PredictBatchResult:
    if isinstance(outcome, IssuedForecast):
        message = prediction.forecast_message(outcome, explanation=request.return_explanation)
        return pb.PredictBatchResult(forecast=message, market=prediction.market_message_of(outcome))
    failure = describe(outcome)
    if failure.reason == INTERNAL:
        _log.error("batch_item_failed", exc_info=outcome)
    return pb.PredictBatchResult(error=batch_error(failure))
