"""Answers in a Redis that several servers share, over one connection of each worker.

Redis is never in the way of answering. A lookup waits for WAIT_SECONDS at most. After a failure, or several answers
that came too late, Redis is left alone; a task tries again with a growing pause, and only it waits. Lookups and writes
that come together travel together: reading costs Redis's client more than Redis.

A token in Redis names its content. It is part of every key, so a new token clears the cache for all servers; each reads
it once a second. A token that was lost, because Redis was emptied or needed the room, is replaced by a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from dejavu_common.backoff import Backoff
from dejavu_common.clock import utc_now
from dejavu_common.tasks import BackgroundTask
from dejavu_server.forecasting.cache.errors import SharedCacheUnavailable
from dejavu_server.forecasting.cache.fingerprint import Validity
from dejavu_server.forecasting.cache.memory import MAX_ANSWER, MAX_REQUEST, Answer
from dejavu_server.forecasting.cache.shared_entries import TOKEN_KEY, SharedEntries
from dejavu_server.observability.failure_log import FailureLog
from dejavu_server.observability.metrics import Metrics

WAIT_SECONDS = 0.01
"""Longest wait of a call for a lookup."""

EXCHANGE_SECONDS = 0.25
"""Longest wait of the task for an answer of Redis."""

CLEAR_SECONDS: Final = 2.0
"""Longest wait for a new token to be set."""

TOKEN_SECONDS: Final = 1.0
"""How often the token is read."""

MAX_LATE: Final = 3
"""Lookups in a row without an answer in time, after which Redis is left alone."""

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 5.0

MAX_LOOKUPS: Final = 256
MAX_WRITES: Final = 64
"""Most lookups and writes that wait; further ones are left out."""

_TOKEN_BYTES: Final = 16

_log = structlog.get_logger(__name__)


class RedisAnswers:
    """Answers in Redis; must be used on one event loop.

    Args:
        url: redis://, rediss:// or unix://, as redis-py reads it.
        entries: makes and reads what is kept.
        read: reads a serialized answer; raises ValueError if it is none that this server could have given.
        metrics: counts lookups.
        cleared: returns how often the cache of this server was cleared.
        clock: returns the current time, aware and in UTC.
    """

    def __init__(
        self,
        url: str,
        entries: SharedEntries,
        read: Callable[[bytes], Answer],
        metrics: Metrics,
        cleared: Callable[[], int],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._redis: Redis = Redis.from_url(
            url,
            max_connections=2,
            socket_connect_timeout=EXCHANGE_SECONDS,
            socket_timeout=EXCHANGE_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._entries = entries
        self._read_answer = read
        self._clock = clock
        self._count = {
            result: metrics.cache_shared.labels(result) for result in ("hit", "miss", "late", "invalid", "failed")
        }
        self._metrics = metrics
        self._lookups: list[tuple[bytes, asyncio.Future[bytes | None]]] = []
        self._writes: dict[bytes, tuple[bytes, int]] = {}
        self._wake = asyncio.Event()
        self._token: bytes | None = None
        self._cleared = -1
        self._cleared_now = cleared
        self._used = False
        self._late = 0
        self._attempted = asyncio.Event()
        self._task = BackgroundTask()
        self._failures = FailureLog(_log, failed="shared_cache_failed", recovered="shared_cache_recovered")
        self._writes_refused = FailureLog(_log, failed="shared_cache_not_written")

    @property
    def token(self) -> bytes | None:
        """The newest known name of the content; kept while Redis is away, so that answers in memory are too."""
        return self._token

    @property
    def is_used(self) -> bool:
        """Whether lookups are sent to Redis at present."""
        return self._used

    async def start(self) -> None:
        """Connects; returns after the first attempt, whether it succeeded or not."""
        self._task.start(self._run(), "shared-cache")
        await self._attempted.wait()

    async def close(self) -> None:
        """Disconnects. Safe to call more than once."""
        await self._task.end()
        self._leave()
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    async def get(self, request: bytes, validity: Validity) -> Answer | None:
        """Returns the answer to a request; None if there is none, or it is not known in time."""
        if not self._is_usable(request, validity) or len(self._lookups) >= MAX_LOOKUPS:
            return None
        key = self._key(request, validity)
        value: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._lookups.append((key, value))
        self._wake.set()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                found = await value
        except TimeoutError:
            self._count["late"].inc()
            self._late += 1
            if self._late >= MAX_LATE:
                self._used = False  # the task notices
                self._wake.set()
            return None
        if self._used:
            self._late = 0
        return None if found is None else self._answer(key, found)

    def put(self, request: bytes, validity: Validity, answer: Answer) -> None:
        """Keeps an answer, without waiting for it."""
        if not self._is_usable(request, validity) or len(answer.data) > MAX_ANSWER or len(self._writes) >= MAX_WRITES:
            return
        milliseconds = int((answer.until - self._clock()).total_seconds() * 1000)
        if milliseconds > 0:
            key = self._key(request, validity)
            self._writes[key] = self._entries.value(key, answer.data), milliseconds
            self._wake.set()

    async def clear(self) -> None:
        """Clears the cache for all servers.

        Raises:
            SharedCacheUnavailable: if Redis cannot be reached.
        """
        token = os.urandom(_TOKEN_BYTES)
        try:
            async with asyncio.timeout(CLEAR_SECONDS):
                await self._redis.set(TOKEN_KEY, token)
        except (RedisError, OSError, TimeoutError) as error:
            raise SharedCacheUnavailable(f"the shared cache cannot be reached: {_cause(error)}") from error
        self._token = token

    def _is_usable(self, request: bytes, validity: Validity) -> bool:
        """Returns whether Redis is used, and its token is known since the cache of this server was last cleared."""
        if validity.cleared != self._cleared:
            self._wake.set()
            return False
        return self._used and validity.token == self._token and len(request) <= MAX_REQUEST

    def _key(self, request: bytes, validity: Validity) -> bytes:
        return self._entries.key(
            request, validity.history, validity.token or b"", validity.day.isoformat().encode("ascii")
        )

    def _answer(self, key: bytes, value: bytes) -> Answer | None:
        try:
            answer = self._read_answer(self._entries.answer(key, value))
        except ValueError as error:
            self._count["invalid"].inc()
            _log.debug("shared_cache_entry_ignored", reason=str(error))
            return None
        self._count["hit"].inc()
        return answer

    async def _run(self) -> None:
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE, chance=random.random)
        while True:
            try:
                await self._connect()
                backoff.reset()
                self._failures.succeeded()
                await self._serve()
            except Exception as error:
                expected = isinstance(error, (RedisError, OSError, TimeoutError))
                self._failures.failed(
                    error if str(error) else RuntimeError(_cause(error)),
                    traceback=not expected,
                    effect="what-ifs are answered without the shared cache",
                )
            self._leave()
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await self._redis.connection_pool.disconnect()
            self._attempted.set()
            await asyncio.sleep(backoff.next())

    async def _connect(self) -> None:
        """Connects, and reads the token; raises TimeoutError if Redis is too slow to be used."""
        await self._read_token()
        began = time.monotonic()
        await self._read_token()
        if (took := time.monotonic() - began) > WAIT_SECONDS:
            raise TimeoutError(
                f"an answer took {1000 * took:.1f} ms; at most {1000 * WAIT_SECONDS:g} ms are waited for"
            )
        self._used, self._late = True, 0
        self._metrics.cache_shared_failed.set(0)
        self._attempted.set()

    async def _serve(self) -> None:
        """Does what is asked, until Redis fails or is too slow."""
        read_at = time.monotonic()
        while True:
            pause = read_at + TOKEN_SECONDS - time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, pause)):
                    await self._wake.wait()
            self._wake.clear()
            if not self._used:
                raise TimeoutError(f"{MAX_LATE} answers in a row took more than {1000 * WAIT_SECONDS:g} ms")
            if time.monotonic() - read_at >= TOKEN_SECONDS or self._cleared_now() != self._cleared:
                await self._read_token()
                read_at = time.monotonic()
            await self._exchange()

    async def _exchange(self) -> None:
        lookups = [(key, value) for key, value in self._lookups if not value.done()]
        writes, self._lookups, self._writes = self._writes, [], {}
        if not lookups and not writes:
            return
        found, results = await self._send(lookups, writes)
        for (_, waiting), data in zip(lookups, found, strict=True):
            if not waiting.done():
                self._count["miss"].inc(data is None)
                waiting.set_result(data)
        refused = next((result for result in results if isinstance(result, Exception)), None)
        if refused is not None:  # full, or a replica: what it has can still be read
            self._writes_refused.failed(refused, traceback=False, effect="answers are not kept for other servers")

    async def _send(
        self,
        lookups: list[tuple[bytes, asyncio.Future[bytes | None]]],
        writes: dict[bytes, tuple[bytes, int]],
    ) -> tuple[list[bytes | None], list[Any]]:
        """Returns the values found, and the results of the writes."""
        try:
            async with self._redis.pipeline(transaction=False) as together, asyncio.timeout(EXCHANGE_SECONDS):
                if lookups:
                    together.mget([key for key, _ in lookups])
                for key, (value, milliseconds) in writes.items():
                    together.set(key, value, px=milliseconds)
                results = await together.execute(raise_on_error=False)
            found = results.pop(0) if lookups else []
            if isinstance(found, Exception):
                raise found
        except BaseException:
            for _, waiting in lookups:
                if not waiting.done():
                    self._count["failed"].inc()
                    waiting.set_result(None)
            raise
        return found, results

    async def _read_token(self) -> None:
        cleared = self._cleared_now()
        async with self._redis.pipeline(transaction=False) as together, asyncio.timeout(EXCHANGE_SECONDS):
            together.set(TOKEN_KEY, os.urandom(_TOKEN_BYTES), nx=True)
            together.get(TOKEN_KEY)
            refused, token = await together.execute(raise_on_error=False)
        if not isinstance(token, bytes) or not 0 < len(token) <= 4 * _TOKEN_BYTES:
            problem = token if isinstance(token, Exception) else refused
            raise problem if isinstance(problem, Exception) else RedisError(f"{TOKEN_KEY.decode()} is not a token")
        self._token, self._cleared = token, cleared

    def _leave(self) -> None:
        """Leaves Redis alone; calls that wait for it go on."""
        self._used = False
        self._metrics.cache_shared_failed.set(1)
        lookups, self._lookups, self._writes = self._lookups, [], {}
        for _, value in lookups:
            if not value.done():
                value.set_result(None)


def _cause(error: BaseException) -> str:
    return str(error) or type(error).__name__
