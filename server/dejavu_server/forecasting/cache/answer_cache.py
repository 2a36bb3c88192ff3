"""Answers equal what-ifs once: from memory, from the cache that servers share, or from a call that computes it already.

An answer is determined by its request, the models and settings of the server, what was learned from outcomes, and the
day, to which the age of ratings is counted. A worker has one set of models and settings. When one of the others
changes, or the cache is cleared, all answers in memory are dropped, and none that was begun before is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import NamedTuple, Protocol

from dejavu_common.clock import utc_now
from dejavu_feed.game_day import day_bounds, game_day
from dejavu_server.forecasting.cache.fingerprint import Validity
from dejavu_server.forecasting.cache.generation import CacheGeneration
from dejavu_server.forecasting.cache.memory import Answer, MemoryCache
from dejavu_server.observability import statistics as stats
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.statistics import ServerStatistics


class SharedCache(Protocol):
    """A cache that several servers share. No method raises because it is unavailable."""

    @property
    def token(self) -> bytes | None:
        """Names its content; changes when it is cleared. None while it is not used."""

    @property
    def is_used(self) -> bool:
        """Whether it is asked at present."""

    async def get(self, request: bytes, validity: Validity) -> Answer | None:
        """Returns an answer; None if it has none, or does not say in time."""

    def put(self, request: bytes, validity: Validity, answer: Answer) -> None:
        """Keeps an answer, without waiting for it."""

    async def clear(self) -> None:
        """Clears it for all servers; raises SharedCacheUnavailable if it cannot be reached."""


class CacheStatistics(NamedTuple):
    """Statistics of the cache, summed over the workers of a server.

    Attributes:
        workers: number of workers.
        entries, bytes, max_bytes: answers in their memory, and the bytes that these take, and may take.
        hits, misses, evictions: counts since the server was started.
        shared_used: whether this worker uses the cache that servers share; None without one.
    """

    workers: int
    entries: int
    bytes: int
    max_bytes: int
    hits: int
    misses: int
    evictions: int
    shared_used: bool | None


@dataclass(slots=True)
class _Computation:
    """An answer that is being computed; None as its result: it failed, and every waiting call computes its own."""

    validity: Validity
    answer: asyncio.Future[Answer | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class AnswerCache:
    """Cache of a worker's what-ifs; must be used on one event loop.

    Args:
        memory: the answers in memory.
        metrics: counts hits, misses and the answers by model.
        generation: generation of the cache of all workers of the server.
        server: returns the statistics of the server.
        workers: number of workers of the server.
        history: returns what names what the models have learned from outcomes.
        clock: returns the current time, aware and in UTC.
        shared: the cache that servers share; None without one.
    """

    def __init__(
        self,
        memory: MemoryCache,
        metrics: Metrics,
        generation: CacheGeneration,
        server: Callable[[], ServerStatistics],
        *,
        history: Callable[[], bytes],
        clock: Callable[[], datetime] = utc_now,
        shared: SharedCache | None = None,
        workers: int = 1,
    ) -> None:
        self._memory = memory
        self._generation = generation
        self._server = server
        self._workers = workers
        self._history = history
        self._clock = clock
        self._shared = shared
        # Cached: looking up the labels costs more than counting.
        self._answered = cache(lambda model, horizon: metrics.forecasts.labels(model, horizon, "what_if"))
        self._metrics = metrics
        self._computations: dict[bytes, _Computation] = {}
        now = clock()
        self._validity = self._validity_at(now)
        self._day_start, self._day_end = day_bounds(now)

    def get(self, request: bytes) -> Answer | None:
        """Returns the answer to a serialized request from memory, and counts it; None if it is not there."""
        now = self._clock()
        self._refresh(now)
        answer = self._memory.get(request, now)
        if answer is not None:
            self._count_hit(answer)
        return answer

    def has(self, request: bytes) -> bool:
        """Returns whether the answer to a serialized request is in memory, without counting it."""
        now = self._clock()
        self._refresh(now)
        return self._memory.get(request, now) is not None

    async def refresh(self) -> None:
        """Drop all answers in memory if they are no longer good."""
        self._refresh(self._clock())

    def statistics(self) -> CacheStatistics:
        """Returns the statistics of all workers of the server."""
        server = self._server()
        counts, states = server.since_start, server.states
        return CacheStatistics(
            workers=self._workers,
            entries=round(states.get(stats.CACHE_ENTRIES, 0)),
            bytes=round(states.get(stats.CACHE_BYTES, 0)),
            max_bytes=self._workers * self._memory.max_bytes,
            hits=round(counts.get(stats.CACHE_HITS, 0)),
            misses=round(counts.get(stats.CACHE_MISSES, 0)),
            evictions=round(counts.get(stats.CACHE_EVICTIONS, 0)),
            shared_used=None if self._shared is None else self._shared.is_used,
        )

    async def clear(self) -> int:
        """Clears the cache of all workers, and the shared one; returns how many answers were in the workers' memory.

        Raises:
            SharedCacheUnavailable: if the shared cache cannot be reached; the memory of the workers is cleared.
        """
        entries = self.statistics().entries
        try:
            if self._shared is not None:
                await self._shared.clear()
        finally:
            self._generation.advance()
            self._refresh(self._clock())
        return entries

    async def answer(self, request: bytes, owner: str, compute: Callable[[], Awaitable[Answer]]) -> tuple[Answer, bool]:
        """Returns the answer to a request that is not in memory, and whether it was found rather than computed here.

        Args:
            request: the serialized request, a valid what-if or one that `compute` refuses.
            owner: who asks.
            compute: computes the answer; what it raises is raised to this caller only.
        """
        validity = self._refresh(self._clock())
        other = self._computations.get(request)
        if other is not None and other.validity == validity:
            found = await asyncio.shield(other.answer)
            if found is not None:
                self._count_hit(found)
                return found, True
            return await self._compute(request, owner, compute, validity), False
        computation = self._computations[request] = _Computation(validity)
        answer = None
        try:
            if self._shared is not None:
                found = await self._shared.get(request, validity)
                if found is not None and found.is_current(self._clock()):
                    answer = found
                    self._count_hit(answer)
                    self._keep(request, answer, owner, validity)
                    return answer, True
            answer = await self._compute(request, owner, compute, validity)
            if self._shared is not None and self._validity_at(self._clock()) == validity:
                self._shared.put(request, validity, answer)
            return answer, False
        finally:
            if not computation.answer.done():
                computation.answer.set_result(answer)
            if self._computations.get(request) is computation:
                del self._computations[request]

    async def _compute(
        self, request: bytes, owner: str, compute: Callable[[], Awaitable[Answer]], validity: Validity
    ) -> Answer:
        answer = await compute()
        self._metrics.cache_misses.inc()
        self._keep(request, answer, owner, validity)
        return answer

    def _keep(self, request: bytes, answer: Answer, owner: str, validity: Validity) -> None:
        """Keeps an answer, unless something that may determine it has changed since it was begun."""
        if self._refresh(self._clock()) != validity:
            return
        before = self._memory.evictions
        self._memory.put(request, answer, owner)
        if (evicted := self._memory.evictions - before) > 0:
            self._metrics.cache_evictions.inc(evicted)
        self._tell_size()

    def _refresh(self, now: datetime) -> Validity:
        """Drops all answers in memory if they are no longer good; returns what they are good for now."""
        validity, shared = self._validity, self._shared
        if (
            self._day_start <= now < self._day_end
            and self._history() == validity.history
            and self._generation.value == validity.cleared
            and (shared is None or shared.token == validity.token)
        ):  # usual, and cheaper than to make another one: this is on the path of every hit
            return validity
        self._validity = self._validity_at(now)
        self._day_start, self._day_end = day_bounds(now)
        if self._validity != validity:
            self._memory.clear()
            self._tell_size()
        return self._validity

    def _validity_at(self, now: datetime) -> Validity:
        token = None if self._shared is None else self._shared.token
        return Validity(self._history(), self._generation.value, token, game_day(now))

    def _count_hit(self, answer: Answer) -> None:
        self._metrics.cache_hits.inc()
        self._answered(answer.model_version, answer.horizon).inc()

    def _tell_size(self) -> None:
        self._metrics.cache_entries.set(len(self._memory))
        self._metrics.cache_bytes.set(self._memory.bytes)
