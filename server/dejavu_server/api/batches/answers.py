"""Answers batches of forecasts, from serialized requests to serialized results.

Many requests that ask alike are answered together as bytes; other what-ifs from templates, as single ones are; the rest
in chunks, by the path of any request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import partial

import structlog

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_common.yielding import Turns
from dejavu_feed.game_day import game_day
from dejavu_models.errors import DejavuError, InvalidInput
from dejavu_server.access.caller import Principal, ScopeMissing, current_caller
from dejavu_server.api.batches.groups import AlikeRequests
from dejavu_server.api.batches.requests import SerializedRequests, read_batch
from dejavu_server.api.cache.templates import AnswerTemplates
from dejavu_server.api.converters import prediction
from dejavu_server.api.converters.alike import alike_key
from dejavu_server.api.converters.total_market import total_market_message_of
from dejavu_server.api.errors import item_error
from dejavu_server.api.handlers import Context
from dejavu_server.forecasting.batcher import CHUNK, MAX_ON_LOOP
from dejavu_server.forecasting.service import ForecastService
from dejavu_server.records import ForecastRequest, IssuedForecast
from dejavu_server.results import Failed, Result

ReadRequest = Callable[[pb.PredictRequest, date, Principal], ForecastRequest]
"""Reads a request of today by a caller; raises InvalidInput or ScopeMissing."""

_log = structlog.get_logger(__name__)


class BatchAnswers:
    """Answers batches of forecasts; each request succeeds or fails on its own.

    Args:
        templates: answers what-ifs.
        forecasts: makes all other forecasts.
        clock: returns the current time, aware and in UTC.
        read: reads a request.
    """

    def __init__(
        self,
        templates: AnswerTemplates,
        forecasts: ForecastService,
        clock: Callable[[], datetime],
        read: ReadRequest,
    ) -> None:
        self._templates = templates
        self._forecasts = forecasts
        self._clock = clock
        self._read = read

    async def answer(self, data: bytes, context: Context) -> bytes:
        """Returns the serialized PredictBatchResponse to a serialized PredictBatchRequest.

        Raises:
            MalformedRequest: if it is no message.
            InvalidBatch: if it has no requests, or too many.
        """
        batch, turns = read_batch(data), Turns()
        # All are parsed before the first is answered: nothing is recorded of a batch that is malformed.
        groups = await _groups(batch, turns)
        together = {index for group, _ in groups for index in group.indices}
        alone = [index for index in range(len(batch)) if index not in together]
        requests = dict(zip(alone, await turns.map(batch.parse, alone), strict=True))
        results: dict[int, bytes] = {}
        for group, first in groups:
            if (found := await self._answer_alike(group, first, context, turns)) is not None:
                results.update(zip(group.indices, found, strict=True))
            else:
                requests.update(zip(group.indices, await turns.map(batch.parse, group.indices), strict=True))
        what_ifs, others = _divided(requests)
        results.update(await self._answer_what_ifs(what_ifs, context, turns))
        results.update(await self._answer_others(others, turns))
        return b"".join([results[index] for index in range(len(batch))])

    async def _answer_alike(
        self, group: AlikeRequests, first: pb.PredictRequest, context: Context, turns: Turns
    ) -> list[bytes] | None:
        """Returns the results of requests that differ in their numbers only; None if each has to be answered alone."""
        try:
            return await self._templates.answer_rows(first, group.rows, context, turns)
        except DejavuError:
            return None
        except Exception:  # as in a group that the batcher computes
            _log.warning("group_failed", size=len(group.rows), effect="queries are answered one by one", exc_info=True)
            return None

    async def _answer_what_ifs(
        self, requests: Mapping[int, pb.PredictRequest], context: Context, turns: Turns
    ) -> dict[int, bytes]:
        """Returns the results of what-ifs that templates may answer, by index."""
        indices, results = list(requests), dict[int, bytes]()
        for start in range(0, len(indices), MAX_ON_LOOP):
            few = indices[start : start + MAX_ON_LOOP]
            answering = (self._templates.answer(requests[index], context) for index in few)
            answers = await asyncio.gather(*answering, return_exceptions=True)
            results.update(zip(few, map(_what_if_result, answers), strict=True))
            await turns.give_way()
        return results

    async def _answer_others(self, requests: Mapping[int, pb.PredictRequest], turns: Turns) -> dict[int, bytes]:
        """Returns the results of requests by the path of any, by index; named games are recorded in their order."""
        indices, results = list(requests), dict[int, bytes]()
        read = partial(self._readable, today=game_day(self._clock()), caller=current_caller.get())
        for start in range(0, len(indices), CHUNK):
            some = indices[start : start + CHUNK]
            chunk = [requests[index] for index in some]
            outcomes = await self._forecast(await turns.map(read, chunk))
            turns.others_had_theirs()
            results.update(zip(some, await turns.map(_result, chunk, outcomes), strict=True))
        return results

    def _readable(self, request: pb.PredictRequest, today: date, caller: Principal) -> Result[ForecastRequest]:
        try:
            return self._read(request, today, caller)
        except (InvalidInput, ScopeMissing) as error:
            return Failed(error)

    async def _forecast(self, requests: Sequence[Result[ForecastRequest]]) -> list[Result[IssuedForecast]]:
        """Answers requests in order. Each fails on its own; one that failed to parse keeps its error."""
        readable = [request for request in requests if isinstance(request, ForecastRequest)]
        answers = iter(await self._forecasts.forecast_many(readable))
        return [request if isinstance(request, Failed) else next(answers) for request in requests]


async def _groups(batch: SerializedRequests, turns: Turns) -> list[tuple[AlikeRequests, pb.PredictRequest]]:
    """Returns the groups of requests that differ in their numbers only, and the first request of each."""
    groups = []
    for group in await batch.alike(turns):
        await turns.give_way()
        groups.append((group, batch.parse(group.indices[0])))
    return groups


def _divided(
    requests: Mapping[int, pb.PredictRequest],
) -> tuple[dict[int, pb.PredictRequest], dict[int, pb.PredictRequest]]:
    """Returns the what-ifs that templates may answer and the other requests, both in the order of the batch."""
    what_ifs: dict[int, pb.PredictRequest] = {}
    others: dict[int, pb.PredictRequest] = {}
    for index in sorted(requests):
        request = requests[index]
        (others if alike_key(request) is None else what_ifs)[index] = request
    return what_ifs, others


def _what_if_result(answer: pb.PredictResponse | BaseException) -> bytes:
    """Returns the serialized result of a what-if, as a PredictBatchResponse has it."""
    response = pb.PredictBatchResponse()
    if isinstance(answer, pb.PredictResponse):
        response.results.add().forecast.CopyFrom(answer.forecast)
    elif isinstance(answer, Exception):
        response.results.add().error.CopyFrom(item_error(answer))
    else:  # the call was cancelled
        raise answer
    return response.SerializeToString()


def _result(request: pb.PredictRequest, outcome: Result[IssuedForecast]) -> bytes:
    """Returns the serialized result of a request, as a PredictBatchResponse has it."""
    response = pb.PredictBatchResponse()
    result = response.results.add()
    if isinstance(outcome, IssuedForecast):
        prediction.put_forecast(result.forecast, outcome, explanation=request.return_explanation)
        if (market := prediction.market_message_of(outcome)) is not None:
            result.market.CopyFrom(market)
        if (total_market := total_market_message_of(outcome)) is not None:
            result.total_market.CopyFrom(total_market)
    else:
        result.error.CopyFrom(item_error(outcome.error))
    return response.SerializeToString()
