"""PredictionService: converts messages and calls the domain. The interceptor maps errors to statuses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_common.clock import game_day, utc_now
from dejavu_common.tasks import Turns
from dejavu_ledger.records import IssuedForecast
from dejavu_models import risk
from dejavu_models.errors import InvalidInput
from dejavu_models.results import Failed, Result
from dejavu_server.access.caller import AccessScope, ScopeMissing
from dejavu_server.api.cache.what_ifs import WhatIfCache
from dejavu_server.api.converters import columns, prediction
from dejavu_server.api.converters.forecast import CourseOf, put_forecast
from dejavu_server.api.converters.market import answers_of
from dejavu_server.api.decoding import checked
from dejavu_server.api.errors import item_error
from dejavu_server.forecast_request import ForecastRequest
from dejavu_server.forecasting.batcher import CHUNK
from dejavu_server.forecasting.forecast_service import ForecastService
from dejavu_server.limits import Caller
from dejavu_server.streaming.games_in_play import ANY_GAME, GameNotInPlay, GamesInPlay, PublishedGames
from dejavu_server.streaming.ledger_manager import LedgerManager

PREDICTION_SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"]

_read_request = checked(pb.PredictRequest)


class PredictionService:
    """Serves single forecasts, batches, streams and risk assessments.

    Args:
        forecast_service: makes the forecasts.
        ledger_manager: streams the forecasts.
        clock: returns the current time, aware and in UTC.
        course_of: returns courses of similar games; None: forecasts have none.
        what_ifs: the cache of what-ifs; None: they are always computed.
        in_play: reads how far games are; None: as far as callers say.
    """

    def __init__(
        self,
        forecast_service: ForecastService,
        ledger_manager: LedgerManager,
        clock: Callable[[], datetime] = utc_now,
        course_of: CourseOf | None = None,
        what_ifs: WhatIfCache | None = None,
        in_play: GamesInPlay | None = None,
    ) -> None:
        self._forecasts = forecast_service
        self._streams = ledger_manager
        self._clock = clock
        self._course_of = course_of
        self._what_ifs = what_ifs
        self._in_play = in_play

    async def predict_raw(self, data: bytes, caller: Caller) -> bytes:
        """Forecast one game, from serialized request to serialized response; what-ifs from the cache if possible."""
        if self._what_ifs is not None and (found := self._what_ifs.find(data)) is not None:
            return found
        request = _read_request(data)
        if request.game_id or self._what_ifs is None:
            return (await self.predict(request, caller)).SerializeToString()
        return (await self._what_ifs.answer(data, partial(self.predict, request, caller)))[0]

    async def predict(self, request: pb.PredictRequest, caller: Caller) -> pb.PredictResponse:
        """Forecast one game."""
        published = await self._published() if request.game_id else ANY_GAME
        read = _request(request, self._clock(), caller, published)
        issued = await self._forecasts.forecast(read, caller)
        response = pb.PredictResponse()
        _put(response, issued, request, self._course_of)
        return response

    async def predict_batch(self, request: pb.PredictBatchRequest, caller: Caller) -> pb.PredictBatchResponse:
        """Forecast many games; each request succeeds or fails on its own."""
        requests, response, turns = prediction.batch_requests(request), pb.PredictBatchResponse(), Turns()
        published = await self._published() if any(each.game_id for each in request.requests) else ANY_GAME
        read = partial(_readable, now=self._clock(), caller=caller, published=published)
        for start in range(0, len(requests), CHUNK):
            chunk = requests[start : start + CHUNK]
            outcomes = await self._forecast(await turns.map(read, chunk), caller)
            turns.others_had_theirs()
            await turns.map(partial(_put_result, response), chunk, outcomes)
        return response

    async def _published(self) -> PublishedGames:
        return ANY_GAME if self._in_play is None else await self._in_play.published()

    async def _forecast(
        self, requests: Sequence[Result[ForecastRequest]], caller: Caller
    ) -> list[Result[IssuedForecast]]:
        """Answer requests in order. Each fails on its own; one that failed to parse keeps its error."""
        readable = [request for request in requests if isinstance(request, ForecastRequest)]
        answers = iter(await self._forecasts.forecast_many(readable, caller))
        return [request if isinstance(request, Failed) else next(answers) for request in requests]

    async def predict_columns(self, request: pb.PredictColumnsRequest, caller: Caller) -> pb.PredictColumnsResponse:
        """Forecast many games as columns."""
        response = pb.PredictColumnsResponse()
        query = columns.columns_query(request)
        for part in await self._forecasts.forecast_columns(query, request.model_version, caller):
            response.MergeFrom(columns.columns_message(part))
        return response

    def stream_predictions(self, request: pb.StreamPredictionsRequest, caller: Caller) -> AsyncIterator[bytes]:
        """Stream forecasts as they are recorded; the broadcaster serializes each message once for all subscribers."""
        games = prediction.stream_games(request)
        return self._streams.subscribe(games, request.resume_token, request.include_current, caller.turn)

    async def assess_risk(self, request: pb.AssessRiskRequest, _: Caller) -> pb.AssessRiskResponse:
        """Assess how volatile games have been; each succeeds or fails on its own."""
        return pb.AssessRiskResponse(results=await Turns().map(_risk_result, prediction.risk_games(request)))


def _request(request: pb.PredictRequest, now: datetime, caller: Caller, published: PublishedGames) -> ForecastRequest:
    """Read a request.

    Raises:
        ScopeMissing: if it names a game, and its caller may not record forecasts.
        GameNotInPlay: if the game that it names has not begun, or is not that far.
    """
    if request.game_id:
        caller.principal.require((AccessScope.RECORD,), "record forecasts of named games")
    read = prediction.forecast_request(request, game_day(now))
    if not request.game_id:
        return read
    if AccessScope.OUTCOME not in caller.principal.scopes:  # who publishes the states of games is not limited by them
        moment = read.query.moment
        elapsed = 60.0 * len(read.query.pattern.differentials) if moment is None else moment.elapsed
        published.check(request.game_id, elapsed, now)
    return replace(read, clock=published.clock(request.game_id))


def _readable(
    request: pb.PredictRequest, now: datetime, caller: Caller, published: PublishedGames
) -> Result[ForecastRequest]:
    try:
        return _request(request, now, caller, published)
    except (InvalidInput, ScopeMissing, GameNotInPlay) as error:
        return Failed(error)


def _risk_result(game: pb.RiskGame) -> pb.RiskResult:
    try:
        return pb.RiskResult(assessment=prediction.risk_message(risk.assess(*prediction.risk_game(game))))
    except InvalidInput as error:
        return pb.RiskResult(error=item_error(error))


def _put_result(response: pb.PredictBatchResponse, request: pb.PredictRequest, outcome: Result[IssuedForecast]) -> None:
    """Add the result of a request to the response to its batch."""
    result = response.results.add()
    if isinstance(outcome, Failed):
        result.error.CopyFrom(item_error(outcome.error))
    else:
        _put(result, outcome, request)


def _put(
    answer: pb.PredictResponse | pb.PredictBatchResult,
    issued: IssuedForecast,
    request: pb.PredictRequest,
    course_of: CourseOf | None = None,
) -> None:
    """Write a forecast and its markets to an empty answer."""
    put_forecast(answer.forecast, issued, explanation=request.return_explanation, course_of=course_of)
    if issued.markets:
        answer.markets.extend(answers_of(issued))
