"""The cache of what-ifs as PredictionService uses it: from the bytes of requests to the bytes of answers.

Equal bytes mean equal requests, so a hit decodes nothing. Clients may encode the same request in other ways, for
example with fields in another order: that costs a computation and is never wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_server.api.converters.fields import HORIZONS, instant
from dejavu_server.api.handlers import Context
from dejavu_server.forecasting.cache.answers import Answer, AnswerCache

Predict = Callable[[pb.PredictRequest, Context], Awaitable[pb.PredictResponse]]
"""Computes a response."""


class CachedWhatIfs:
    """Cached answers to what-ifs. Only `find` accepts a request that names a game.

    Args:
        cache: the cache.
        seconds: longest time for which an answer is kept.

    Attributes:
        cache: see above.
        max_age: the same as `seconds`.
    """

    def __init__(self, cache: AnswerCache, seconds: float) -> None:
        self.cache = cache
        self.max_age = timedelta(seconds=seconds)

    def find(self, data: bytes) -> bytes | None:
        """Return the serialized answer to a serialized request from memory; None if it is not there."""
        found = self.cache.get(data)
        return None if found is None else found.data

    async def answer(self, data: bytes, request: pb.PredictRequest, context: Context, predict: Predict) -> bytes:
        """Return the serialized answer to a what-if that is not in memory.

        Args:
            data: the serialized request.
            request: the request.
            context: the context of the call.
            predict: computes the answer.
        """
        answer, _ = await self._answer(data, request, context, predict)
        return answer.data

    async def warm(self, request: pb.PredictRequest, context: Context, predict: Predict) -> bool:
        """Ensure that the answer to a what-if is cached; return whether it already was.

        Raises:
            DejavuError: if it is refused.
        """
        data = request.SerializeToString()
        if self.cache.has(data):
            return True
        _, found = await self._answer(data, request, context, predict)
        return found

    async def _answer(
        self, data: bytes, request: pb.PredictRequest, context: Context, predict: Predict
    ) -> tuple[Answer, bool]:
        return await self.cache.answer(data, partial(self._compute, request, context, predict))

    async def _compute(self, request: pb.PredictRequest, context: Context, predict: Predict) -> Answer:
        return answer_of(await predict(request, context), self.max_age)


def answer_of(response: pb.PredictResponse, longest: timedelta, data: bytes | None = None) -> Answer:
    """Return a response to a what-if as the cache keeps it.

    Args:
        response: the response.
        longest: maximum time for which it is kept, but never longer than it is current.
        data: the serialized response, if that is known.
    """
    forecast = response.forecast
    generated = instant(forecast.generated_time)
    return Answer(
        data=response.SerializeToString() if data is None else data,
        model_version=forecast.model_version,
        horizon=HORIZONS[forecast.horizon].value,
        generated=generated,
        until=min(generated + longest, instant(forecast.expires_time)),
    )
