"""Cache of what-ifs: serialized answers by serialized requests, in memory and, if configured, in Redis.

Equal bytes mean equal requests, so a hit decodes nothing. Clients may encode the same request in other ways, for
example with fields in another order: that costs a computation and is never wrong.

An answer is determined by its request, the models and settings of the server, the applied outcomes, and the day, which
determines the age of the ratings. When models or outcomes change, or the cache is cleared, all answers in memory are
dropped, and answers still being computed are not kept. Decision: docs/decisions/0044-cache.md.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cachetools import TLRUCache
from prometheus_client import Counter

from dejavu.v1.prediction_service_pb2 import PredictResponse
from dejavu_common.clock import day_bounds, utc_now
from dejavu_server.api.cache.cache_state import MAX_ANSWER, MAX_REQUEST, TOKEN_BYTES, CacheToken
from dejavu_server.api.converters.fields import HORIZONS, instant
from dejavu_server.observability.metrics import Metrics

if TYPE_CHECKING:
    from dejavu_server.api.cache.redis_store import RedisStore

ENTRY_BYTES: Final = 1536
"""Upper bound of an entry's memory in addition to request and answer, in bytes; verified by a test."""


class _Answer(NamedTuple):
    """A serialized answer, the times from which and until which it is used, and the counter of such answers."""

    data: bytes
    generated: datetime
    until: datetime
    answered: Counter
    size: int


class _Memory(TLRUCache):  # type: ignore[type-arg]  # not generic when it runs
    """Answers by request; the least recently used ones are evicted first."""

    def __init__(self, max_bytes: int, clock: Callable[[], datetime], evictions: Counter) -> None:
        super().__init__(
            max_bytes,
            ttu=lambda _, answer, __: answer.until.timestamp(),
            timer=lambda: clock().timestamp(),
            getsizeof=lambda answer: answer.size,
        )
        self._evictions = evictions

    def popitem(self) -> Any:
        """Remove the least recently used answer."""
        self._evictions.inc()
        return super().popitem()


class WhatIfCache:
    """Cache of a worker's what-ifs; must be used on one event loop. Only `find` accepts a request that names a game.

    Args:
        max_bytes: maximum bytes of the answers in memory.
        seconds: longest time for which an answer is kept, but never past its expiry or its day of games.
        metrics: counts hits, misses and the answers by model.
        token: the token of all workers of the server.
        history: returns the identity of the outcomes applied to the models.
        clock: returns the current time, aware and in UTC.
        shared: the Redis that servers share; None without one.

    Attributes:
        max_bytes, shared: see above.
        max_age: the same as `seconds`.
    """

    def __init__(
        self,
        max_bytes: int,
        seconds: float,
        metrics: Metrics,
        token: CacheToken,
        *,
        history: Callable[[], bytes],
        clock: Callable[[], datetime] = utc_now,
        shared: RedisStore | None = None,
    ) -> None:
        self.max_bytes, self.max_age, self.shared = max_bytes, timedelta(seconds=seconds), shared
        self._memory = _Memory(max_bytes, clock, metrics.cache_evictions)
        self._metrics, self._token, self._history, self._clock = metrics, token, history, clock
        self._state = history() + token.value

    def find(self, request: bytes) -> bytes | None:
        """Return the answer to a serialized request from memory, and count it; None if it is not there."""
        answer = self._find(request)
        return None if answer is None else self._hit(answer)

    def has(self, request: bytes) -> bool:
        """Return whether the answer to a serialized request is in memory, without counting it."""
        return self._find(request) is not None

    async def answer(self, request: bytes, compute: Callable[[], Awaitable[PredictResponse]]) -> tuple[bytes, bool]:
        """Return the answer to a request that is not in memory, and whether it was found rather than computed.

        Args:
            request: the serialized request, a valid what-if or one that `compute` refuses.
            compute: computes the answer; its exceptions are raised.
        """
        state = self._refresh()
        if self.shared is not None and len(request) <= MAX_REQUEST:
            found = await self.shared.get(request, state, self._read)
            if found is not None and self._is_current(found):
                self._keep(request, found, state)
                return self._hit(found), True
        response = await compute()
        self._metrics.cache_misses.inc()
        answer = self._answer_of(response, response.SerializeToString())
        if self._keep(request, answer, state) and self.shared is not None:
            self.shared.put(request, state, answer.data, (answer.until - self._clock()).total_seconds())
        return answer.data, False

    async def clear(self) -> None:
        """Clear the cache of all workers, and the shared one.

        Raises:
            SharedCacheUnavailable: if the shared cache cannot be reached; the memory of the workers is cleared.
        """
        token = os.urandom(TOKEN_BYTES)
        try:
            if self.shared is not None:
                await self.shared.set_token(token)
        finally:
            self._token.value = token
            self._refresh()

    async def refresh(self) -> None:
        """Drop invalid answers, also in a worker without calls."""
        self._refresh()
        self._memory.expire()
        self._tell_size()

    def _find(self, request: bytes) -> _Answer | None:
        self._refresh()
        answer: _Answer | None = self._memory.get(request)
        return answer if answer is not None and self._is_current(answer) else None

    def _is_current(self, answer: _Answer) -> bool:
        # Not used before it was generated either: the clock may have been set back.
        return answer.generated <= self._clock() < answer.until

    def _hit(self, answer: _Answer) -> bytes:
        self._metrics.cache_hits.inc()
        answer.answered.inc()
        return answer.data

    def _keep(self, request: bytes, answer: _Answer, state: bytes) -> bool:
        """Keep an answer; return False if the validity has changed since `state`, or request or answer is too long."""
        if self._refresh() != state or len(request) > MAX_REQUEST or len(answer.data) > MAX_ANSWER:
            return False
        answer = answer._replace(size=len(request) + answer.size)
        if answer.size <= self.max_bytes:
            self._memory[request] = answer
            self._tell_size()
        return True

    def _read(self, data: bytes) -> _Answer:
        return self._answer_of(PredictResponse.FromString(data), data)

    def _answer_of(self, response: PredictResponse, data: bytes) -> _Answer:
        forecast = response.forecast
        generated = instant(forecast.generated_time)
        until = min(generated + self.max_age, instant(forecast.expires_time), day_bounds(generated)[1])
        horizon = HORIZONS[forecast.horizon].value
        answered = self._metrics.forecasts.labels(forecast.model_version, horizon, "what_if")
        return _Answer(data, generated, until, answered, len(data) + ENTRY_BYTES)

    def _refresh(self) -> bytes:
        """Drop all answers in memory if they are no longer valid; return what identifies the valid ones now."""
        state = self._history() + self._token.value
        if state != self._state:
            self._state = state
            self._memory.clear()
            self._tell_size()
        return state

    def _tell_size(self) -> None:
        self._metrics.cache_entries.set(len(self._memory))
        self._metrics.cache_bytes.set(self._memory.currsize)
