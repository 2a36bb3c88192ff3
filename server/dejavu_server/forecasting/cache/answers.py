"""Cache of what-ifs: serialized answers by serialized requests, in memory and, if configured, in Redis.

An answer is determined by its request, the models and settings of the server, the applied outcomes, and the day, which
determines the age of the ratings. When one of these except the request changes, or the cache is cleared, all answers in
memory are dropped, and answers still being computed are not kept. Decision: docs/decisions/0044-cache.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any, Final, NamedTuple, Protocol

from cachetools import TLRUCache

from dejavu_common.clock import utc_now
from dejavu_common.game_day import day_bounds, game_day
from dejavu_models.errors import DejavuError
from dejavu_server.forecasting.cache.generation import CacheGeneration
from dejavu_server.observability import statistics as stats
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.statistics import ServerStatistics

MAX_REQUEST: Final = 4096
"""Longest request to keep, in bytes: a PredictRequest with all fields at their longest is shorter."""

MAX_ANSWER: Final = 32_768
"""Longest answer to keep, in bytes; an answer with explanation and 99 quantiles has about 6,000."""

ENTRY_BYTES: Final = 1536
"""Upper bound of an entry's memory in addition to request and answer, in bytes; verified by a test."""


class CacheOff(DejavuError):
    """The cache is off."""

    reason = "CACHE_OFF"


class SharedCacheUnavailable(DejavuError):
    """The cache that servers share cannot be reached."""

    reason = "SHARED_CACHE_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Answer:
    """A serialized answer to a what-if.

    Attributes:
        data: the serialized response.
        model_version: the model that answered.
        horizon: name of the horizon of the forecast: the value of a Horizon.
        generated: when it was computed; aware, UTC.
        until: when it must no longer be used; aware, UTC.
    """

    data: bytes
    model_version: str
    horizon: str
    generated: datetime
    until: datetime

    def is_current(self, now: datetime) -> bool:
        """Return whether it may be used; False also if the clock was set back to before it was computed."""
        return self.generated <= now < self.until


class State(NamedTuple):
    """Validity of the answers in memory; if one part differs, none of them is used.

    Attributes:
        history: identity of the outcomes applied to the models.
        generation: number of times that the cache of the server was cleared.
        token: names the content of the shared cache; empty without one.
        day: the day of games.
    """

    history: bytes
    generation: int
    token: bytes
    day: date


class SharedStore(Protocol):
    """Cache that several servers share. Only `clear` raises an error if the cache is unavailable."""

    @property
    def token(self) -> bytes:
        """Name of the content of the cache; changes when the cache is cleared."""

    @property
    def is_used(self) -> bool:
        """Whether lookups are sent to the cache at present."""

    async def get(self, request: bytes, state: State) -> Answer | None:
        """Return an answer; None if the cache has none, or does not respond in time."""

    def put(self, request: bytes, state: State, answer: Answer) -> None:
        """Keep an answer, without waiting for it."""

    async def clear(self) -> None:
        """Clear the cache for all servers; raise SharedCacheUnavailable if it cannot be reached."""


class CacheStatistics(NamedTuple):
    """Statistics of the cache, summed over the workers of a server.

    Attributes:
        workers: number of workers.
        entries, bytes, max_bytes: number of answers in their memory, the bytes that these take, and the maximum of
            these bytes.
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


class _Entry(NamedTuple):
    answer: Answer
    size: int


class _Memory(TLRUCache):  # type: ignore[type-arg]  # not generic when it runs
    """Answers by request; the least recently used ones are evicted first."""

    def __init__(self, max_bytes: int, clock: Callable[[], datetime], evicted: Callable[[], object]) -> None:
        super().__init__(
            max_bytes,
            ttu=lambda _, entry, __: entry.answer.until.timestamp(),
            timer=lambda: clock().timestamp(),
            getsizeof=lambda entry: entry.size,
        )
        self._evicted = evicted

    def popitem(self) -> Any:
        """Remove the least recently used answer."""
        self._evicted()
        return super().popitem()


class AnswerCache:
    """Cache of a worker's what-ifs; must be used on one event loop.

    Args:
        max_bytes: maximum bytes of the answers in memory.
        metrics: counts hits, misses and the answers by model.
        generation: generation of the cache of all workers of the server.
        server: returns the statistics of the server.
        workers: number of workers of the server.
        history: returns the identity of the outcomes applied to the models.
        clock: returns the current time, aware and in UTC.
        shared: the cache that servers share; None without one.
    """

    def __init__(
        self,
        max_bytes: int,
        metrics: Metrics,
        generation: CacheGeneration,
        server: Callable[[], ServerStatistics],
        *,
        history: Callable[[], bytes],
        clock: Callable[[], datetime] = utc_now,
        shared: SharedStore | None = None,
        workers: int = 1,
    ) -> None:
        self._memory = _Memory(max_bytes, clock, metrics.cache_evictions.inc)
        self._metrics = metrics
        self._generation = generation
        self._server = server
        self._workers = workers
        self._history = history
        self._clock = clock
        self._shared = shared
        # Cached: looking up the labels costs more than counting.
        self._answered = cache(lambda model, horizon: metrics.forecasts.labels(model, horizon, "what_if"))
        now = clock()
        self._state = self._state_at(now)
        self._day_start, self._day_end = day_bounds(now)

    def get(self, request: bytes) -> Answer | None:
        """Return the answer to a serialized request from memory, and count it; None if it is not there."""
        answer = self._find(request)
        if answer is not None:
            self._count_hit(answer)
        return answer

    def has(self, request: bytes) -> bool:
        """Return whether the answer to a serialized request is in memory, without counting it."""
        return self._find(request) is not None

    def _find(self, request: bytes) -> Answer | None:
        now = self._clock()
        self._refresh(now)
        entry: _Entry | None = self._memory.get(request)
        return entry.answer if entry is not None and entry.answer.is_current(now) else None

    async def answer(self, request: bytes, compute: Callable[[], Awaitable[Answer]]) -> tuple[Answer, bool]:
        """Return the answer to a request that is not in memory, and whether it was found rather than computed.

        Args:
            request: the serialized request, a valid what-if or one that `compute` refuses.
            compute: computes the answer; its exceptions are raised.
        """
        state = self._refresh(self._clock())
        if self._shared is not None:
            found = await self._shared.get(request, state)
            if found is not None and found.is_current(self._clock()):
                self._count_hit(found)
                self._keep(request, found, state)
                return found, True
        answer = await compute()
        self._metrics.cache_misses.inc()
        if self._keep(request, answer, state) and self._shared is not None:
            self._shared.put(request, state, answer)
        return answer, False

    def statistics(self) -> CacheStatistics:
        """Return the statistics of all workers of the server."""
        server = self._server()
        counts, states = server.since_start, server.states
        return CacheStatistics(
            workers=self._workers,
            entries=round(states.get(stats.CACHE_ENTRIES, 0)),
            bytes=round(states.get(stats.CACHE_BYTES, 0)),
            max_bytes=round(self._workers * self._memory.maxsize),
            hits=round(counts.get(stats.CACHE_HITS, 0)),
            misses=round(counts.get(stats.CACHE_MISSES, 0)),
            evictions=round(counts.get(stats.CACHE_EVICTIONS, 0)),
            shared_used=None if self._shared is None else self._shared.is_used,
        )

    async def clear(self) -> int:
        """Clear the cache of all workers, and the shared one; return the number of answers in the workers' memory.

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

    async def refresh(self) -> None:
        """Drop invalid answers, also in a worker without calls."""
        self._refresh(self._clock())
        self._memory.expire()
        self._tell_size()

    def _keep(self, request: bytes, answer: Answer, state: State) -> bool:
        """Keep an answer; return False if the validity has changed since `state`, or request or answer is too long."""
        if self._refresh(self._clock()) != state or len(request) > MAX_REQUEST or len(answer.data) > MAX_ANSWER:
            return False
        size = len(request) + len(answer.data) + ENTRY_BYTES
        if size <= self._memory.maxsize:
            self._memory[request] = _Entry(answer, size)
            self._tell_size()
        return True

    def _refresh(self, now: datetime) -> State:
        """Drop all answers in memory if they are no longer valid; return their validity now."""
        state, shared = self._state, self._shared
        if (
            self._day_start <= now < self._day_end
            and self._history() == state.history
            and self._generation.value == state.generation
            and (shared is None or shared.token == state.token)
        ):  # usual, and cheaper than making a new State: this is on the path of every hit
            return state
        self._state = self._state_at(now)
        self._day_start, self._day_end = day_bounds(now)
        if self._state != state:
            self._memory.clear()
            self._tell_size()
        return self._state

    def _state_at(self, now: datetime) -> State:
        token = b"" if self._shared is None else self._shared.token
        return State(self._history(), self._generation.value, token, game_day(now))

    def _count_hit(self, answer: Answer) -> None:
        self._metrics.cache_hits.inc()
        self._answered(answer.model_version, answer.horizon).inc()

    def _tell_size(self) -> None:
        self._metrics.cache_entries.set(len(self._memory))
        self._metrics.cache_bytes.set(self._memory.currsize)
