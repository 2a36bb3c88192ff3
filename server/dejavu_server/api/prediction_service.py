"""PredictionService: converts messages and calls the domain. The interceptor maps errors to statuses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date, datetime
from functools import partial

import structlog

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_common.clock import utc_now
from dejavu_common.yielding import map_yielding
from dejavu_feed.game_day import game_day
from dejavu_models import risk
from dejavu_models.errors import DejavuError, InvalidInput
from dejavu_server.access.caller import AccessScope, Principal, ScopeMissing, current_caller
from dejavu_server.api.cache.templates import AnswerTemplates
from dejavu_server.api.cache.what_ifs import CachedWhatIfs
from dejavu_server.api.converters import columns, prediction
from dejavu_server.api.converters.alike import alike
from dejavu_server.api.converters.forecast_parts import CourseOf
from dejavu_server.api.converters.total_market import total_market_message_of
from dejavu_server.api.errors import item_error
from dejavu_server.api.handlers import Context
from dejavu_server.api.interceptors import checked
from dejavu_server.forecasting.batcher import CHUNK
from dejavu_server.forecasting.service import ForecastService
from dejavu_server.records import ForecastRequest, IssuedForecast
from dejavu_server.results import Failed, Result
from dejavu_server.streaming.ledger_manager import LedgerManager

PREDICTION_SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"]

_log = structlog.get_logger(__name__)

_read_request = checked(pb.PredictRequest.FromString)


class PredictionService:
    """Serves single forecasts, batches, streams and risk assessments.

    Args:
        forecast_service: makes the forecasts.
        ledger_manager: streams them.
        clock: returns the current time, aware and in UTC.
        course_of: returns courses of similar games; None: forecasts have none.
        what_ifs: the cache of what-ifs; None: they are always computed.
    """

    def __init__(
        self,
        forecast_service: ForecastService,
        ledger_manager: LedgerManager,
        clock: Callable[[], datetime] = utc_now,
        course_of: CourseOf | None = None,
        what_ifs: CachedWhatIfs | None = None,
    ) -> None:
        self._forecasts = forecast_service
        self._streams = ledger_manager
        self._clock = clock
        self._course_of = course_of
        self._what_ifs = what_ifs
        self._templates = AnswerTemplates(forecast_service.what_ifs, clock, self.predict)

    async def predict_raw(self, data: bytes, context: Context) -> bytes:
        """Forecasts one game, from a serialized request to a serialized response: what-ifs from the cache if it can."""
        if self._what_ifs is not None and (found := self._what_ifs.find(data)) is not None:
            return found
        request = _read_request(data)
        if request.game_id:
            return (await self.predict(request, context)).SerializeToString()
        if self._what_ifs is None:
            return (await self._templates.answer(request, context)).SerializeToString()
        return await self._what_ifs.answer(data, request, context, self._templates.answer)

    async def predict(self, request: pb.PredictRequest, _: Context) -> pb.PredictResponse:
        """Forecasts one game."""
        issued = await self._forecasts.forecast(_request(request, game_day(self._clock()), current_caller.get()))
        message = prediction.forecast_message(issued, explanation=request.return_explanation, course_of=self._course_of)
        market, total_market = prediction.market_message_of(issued), total_market_message_of(issued)
        return pb.PredictResponse(forecast=message, market=market, total_market=total_market)

    async def predict_batch(self, request: pb.PredictBatchRequest, context: Context) -> pb.PredictBatchResponse:
        """Forecasts many games, in chunks of up to CHUNK requests; those that ask alike together, from a template."""
        requests = prediction.batch_requests(request)
        read = partial(_read, today=game_day(self._clock()), caller=current_caller.get())
        # Results are filled in where they are: a message that becomes a part of another is copied.
        response = pb.PredictBatchResponse()
        results = [response.results.add() for _ in requests]
        answered: set[int] = set()
        for rows in await alike(requests):
            if await self._answer_alike([requests[row] for row in rows], [results[row] for row in rows], context):
                answered.update(rows)
        others = [index for index in range(len(requests)) if index not in answered]
        for start in range(0, len(others), CHUNK):
            indices = others[start : start + CHUNK]
            chunk = [requests[index] for index in indices]
            outcomes = await self._answer(await map_yielding(read, chunk))
            await map_yielding(_put_result, [results[index] for index in indices], chunk, outcomes)
        return response

    async def _answer_alike(
        self, requests: Sequence[pb.PredictRequest], results: Sequence[pb.PredictBatchResult], context: Context
    ) -> bool:
        """Answers requests that differ in their numbers only; none if any of them is refused: each fails on its own."""
        try:
            return await self._templates.answer_many(requests, results, context)
        except DejavuError:
            return False
        except Exception:  # as in a group that the batcher computes
            _log.warning("group_failed", size=len(requests), effect="queries are answered one by one", exc_info=True)
            return False

    async def predict_columns(self, request: pb.PredictColumnsRequest, _: Context) -> pb.PredictColumnsResponse:
        """Forecasts many games as columns."""
        response = pb.PredictColumnsResponse()
        for part in await self._forecasts.what_ifs.forecast_columns(
            columns.columns_query(request), request.model_version
        ):
            response.MergeFrom(columns.columns_message(part))
        return response

    def stream_predictions(self, request: pb.StreamPredictionsRequest, _: Context) -> AsyncIterator[bytes]:
        """Streams forecasts as they are recorded; the broadcaster serializes each message once for all subscribers."""
        return self._streams.subscribe(*prediction.stream_request(request))

    async def _answer(self, requests: Sequence[Result[ForecastRequest]]) -> list[Result[IssuedForecast]]:
        """Answers the requests of a batch in order. Each fails on its own; one that failed to parse keeps its error."""
        readable = [request for request in requests if isinstance(request, ForecastRequest)]
        answers = iter(await self._forecasts.forecast_many(readable))
        return [request if isinstance(request, Failed) else next(answers) for request in requests]

    async def assess_risk(self, request: pb.AssessRiskRequest, _: Context) -> pb.AssessRiskResponse:
        """Assesses how uncertain a game still is; cheap enough to compute on the event loop."""
        return prediction.risk_message(risk.assess(*prediction.risk_request(request)))


def _request(request: pb.PredictRequest, today: date, caller: Principal) -> ForecastRequest:
    """Reads a request; raises ScopeMissing if it names a game and its caller may not record forecasts."""
    if request.game_id:
        caller.require((AccessScope.RECORD,), "record forecasts of named games")
    return prediction.forecast_request(request, today, caller.identity)


def _read(request: pb.PredictRequest, today: date, caller: Principal) -> Result[ForecastRequest]:
    try:
        return _request(request, today, caller)
    except (InvalidInput, ScopeMissing) as error:
        return Failed(error)


def _put_result(result: pb.PredictBatchResult, request: pb.PredictRequest, outcome: Result[IssuedForecast]) -> None:
    """Fills in an empty result."""
    if not isinstance(outcome, IssuedForecast):
        result.error.CopyFrom(item_error(outcome.error))
        return
    result.forecast.CopyFrom(prediction.forecast_message(outcome, explanation=request.return_explanation))
    if (market := prediction.market_message_of(outcome)) is not None:
        result.market.CopyFrom(market)
    if (total_market := total_market_message_of(outcome)) is not None:
        result.total_market.CopyFrom(total_market)
