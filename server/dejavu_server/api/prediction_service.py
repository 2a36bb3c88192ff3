"""PredictionService: converts messages and calls the domain. The interceptor maps errors to statuses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import date, datetime

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_common.clock import utc_now
from dejavu_feed.game_day import game_day
from dejavu_models import risk
from dejavu_server.access.caller import AccessScope, Principal, current_caller
from dejavu_server.api.batches.answers import BatchAnswers
from dejavu_server.api.cache.templates import AnswerTemplates
from dejavu_server.api.cache.what_ifs import CachedWhatIfs
from dejavu_server.api.converters import columns, prediction
from dejavu_server.api.converters.forecast_parts import CourseOf
from dejavu_server.api.converters.total_market import total_market_message_of
from dejavu_server.api.handlers import Context
from dejavu_server.api.wire.decoding import checked
from dejavu_server.forecasting.service import ForecastService
from dejavu_server.records import ForecastRequest
from dejavu_server.streaming.ledger_manager import LedgerManager

PREDICTION_SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"]

_read_request = checked(pb.PredictRequest)


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
        self._batches = BatchAnswers(self._templates, forecast_service, clock, _request)

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
        response = pb.PredictResponse()
        if (market := prediction.market_message_of(issued)) is not None:
            response.market.CopyFrom(market)
        if (total_market := total_market_message_of(issued)) is not None:
            response.total_market.CopyFrom(total_market)
        prediction.put_forecast(
            response.forecast, issued, explanation=request.return_explanation, course_of=self._course_of
        )
        return response

    async def predict_batch_raw(self, data: bytes, context: Context) -> bytes:
        """Forecasts many games, from serialized requests to serialized results."""
        return await self._batches.answer(data, context)

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

    async def assess_risk(self, request: pb.AssessRiskRequest, _: Context) -> pb.AssessRiskResponse:
        """Assesses how uncertain a game still is; cheap enough to compute on the event loop."""
        return prediction.risk_message(risk.assess(*prediction.risk_request(request)))


def _request(request: pb.PredictRequest, today: date, caller: Principal) -> ForecastRequest:
    """Reads a request; raises ScopeMissing if it names a game and its caller may not record forecasts."""
    if request.game_id:
        caller.require((AccessScope.RECORD,), "record forecasts of named games")
    return prediction.forecast_request(request, today, caller.identity)
