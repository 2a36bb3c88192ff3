"""Answers in a Redis that several servers share, over a few connections of each worker.

Redis never blocks answers: a lookup waits for WAIT_SECONDS at most, and after a failure, or several late answers, Redis
is bypassed until a task, which tries once a second, finds it working. A failure is any exception: redis-py raises
errors of many kinds if something other than Redis responds.

Anybody who can write to Redis could choose the servers' answers. A value therefore has a message authentication code
(keyed BLAKE2b) over key and answer: with a secret that only the servers have, values written by others count as
missing. Without a secret the code is a checksum. A token in Redis is part of every key, so a new one clears the cache
for all servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import os
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from dejavu_common.clock import utc_now
from dejavu_server.forecasting.cache.answers import MAX_ANSWER, MAX_REQUEST, Answer, SharedCacheUnavailable, State
from dejavu_server.forecasting.cache.generation import CacheGeneration
from dejavu_server.observability.failure_log import FailureLog
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.periodic import PeriodicTask

PREFIX: Final = b"dejavu:what-if:"
TOKEN_KEY: Final = b"dejavu:cache:token"
"""Key of the token that names the content of the cache."""

WAIT_SECONDS = 0.01
"""Longest time that a call waits for a lookup."""

EXCHANGE_SECONDS = 0.25
"""Longest wait for Redis in all other operations."""

PROBE_SECONDS: Final = 1.0
"""Interval at which the token is read."""

MAX_LATE: Final = 3
"""Number of consecutive lookups without an answer in time after which Redis is bypassed."""

MAX_CONNECTIONS: Final = 8

MAX_WRITES: Final = 64
"""Maximum number of writes in progress; further ones are skipped."""

_MAGIC: Final = b"DJV1"
_CODE_BYTES: Final = 32
_TOKEN_BYTES: Final = 16

_log = structlog.get_logger(__name__)


class SharedEntries:
    """Makes keys and values that others cannot forge, nor move to another key.

    Args:
        fingerprint: inputs of the answers of this server; see `fingerprint`.
        secret: secret of the servers that share the cache, at most 64 bytes; empty for none.
    """

    def __init__(self, fingerprint: bytes, secret: bytes) -> None:
        self._fingerprint = fingerprint
        self._secret = secret

    def key(self, request: bytes, state: State) -> bytes:
        """Return the key of the answer to a request."""
        digest = hashlib.blake2b(key=self._secret, digest_size=24, person=b"dejavu-wi-key")
        for part in (self._fingerprint, state.history, state.token, state.day.isoformat().encode(), request):
            digest.update(len(part).to_bytes(4, "big"))
            digest.update(part)
        return PREFIX + digest.hexdigest().encode()

    def value(self, key: bytes, answer: bytes) -> bytes:
        """Return the value for a key."""
        return _MAGIC + self._code(key, answer) + answer

    def answer(self, key: bytes, value: bytes) -> bytes:
        """Return the answer of a value.

        Raises:
            ValueError: if the value was not made by `value` for this key with this secret.
        """
        start = len(_MAGIC) + _CODE_BYTES
        code, answer = value[len(_MAGIC) : start], value[start:]
        if not value.startswith(_MAGIC) or len(answer) > MAX_ANSWER:
            raise ValueError("not an answer of this release")
        if not hmac.compare_digest(code, self._code(key, answer)):
            raise ValueError("the code does not match: damaged, moved, or made with another secret")
        return answer

    def _code(self, key: bytes, answer: bytes) -> bytes:
        digest = hashlib.blake2b(key, key=self._secret, digest_size=_CODE_BYTES, person=b"dejavu-wi-mac")
        digest.update(answer)
        return digest.digest()


class RedisStore:
    """Answers in Redis; must be used on one event loop.

    Args:
        url: redis://, rediss:// or unix://, as redis-py reads it.
        entries: writes and reads cached values.
        read: reads a serialized answer; raises ValueError if this server could not have given such an answer.
        metrics: counts lookups.
        generation: generation of the cache of all workers of the server.
        clock: returns the current time, aware and in UTC.
    """

    def __init__(
        self,
        url: str,
        entries: SharedEntries,
        read: Callable[[bytes], Answer],
        metrics: Metrics,
        generation: CacheGeneration,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=EXCHANGE_SECONDS,
            socket_connect_timeout=EXCHANGE_SECONDS,
            socket_timeout=EXCHANGE_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = Redis.from_pool(pool)
        self._entries = entries
        self._read_answer = read
        self._metrics = metrics
        self._generation = generation
        self._clock = clock
        self._token = b""
        self._token_generation = -1
        self._used = False
        self._late = 0
        self._writes = set[asyncio.Task[None]]()
        self._probing = PeriodicTask("shared-cache", PROBE_SECONDS, self._probe)
        self._failures = FailureLog(_log, failed="shared_cache_failed", recovered="shared_cache_recovered")
        self._writes_refused = FailureLog(_log, failed="shared_cache_not_written")

    @property
    def token(self) -> bytes:
        """The newest known name of the content; kept while Redis is away, so that the answers in memory stay valid."""
        return self._token

    @property
    def is_used(self) -> bool:
        """Whether lookups are sent to Redis at present."""
        return self._used

    async def start(self) -> None:
        """Connect; return after the first attempt, whether it succeeded or not."""
        await self._probe()
        self._probing.start()

    async def close(self) -> None:
        """Disconnect. Safe to call more than once."""
        await self._probing.close()
        for task in self._writes:
            task.cancel()
        with contextlib.suppress(Exception):
            await self._redis.aclose()

    async def get(self, request: bytes, state: State) -> Answer | None:
        """Return the answer to a request; None if there is none, or it is not known in time."""
        if not self._is_usable(request, state):
            return None
        key, count = self._entries.key(request, state), self._metrics.cache_shared.labels
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                value = await self._redis.get(key)
        except TimeoutError as error:
            count("late").inc()
            self._late += 1
            if self._late >= MAX_LATE:
                self._leave(error)
            return None
        except Exception as error:
            count("failed").inc()
            self._leave(error)
            return None
        self._late = 0
        if not isinstance(value, bytes):
            count("miss").inc()
            return None
        try:
            answer = self._read_answer(self._entries.answer(key, value))
        except ValueError as error:
            count("invalid").inc()
            _log.debug("shared_cache_entry_ignored", reason=str(error))
            return None
        count("hit").inc()
        return answer

    def put(self, request: bytes, state: State, answer: Answer) -> None:
        """Keep an answer, without waiting for it."""
        milliseconds = int((answer.until - self._clock()).total_seconds() * 1000)
        if self._is_usable(request, state) and len(self._writes) < MAX_WRITES and milliseconds > 0:
            key = self._entries.key(request, state)
            task = asyncio.create_task(self._write(key, self._entries.value(key, answer.data), milliseconds))
            self._writes.add(task)
            task.add_done_callback(self._writes.discard)

    async def clear(self) -> None:
        """Clear the cache for all servers.

        Raises:
            SharedCacheUnavailable: if Redis cannot be reached.
        """
        token = os.urandom(_TOKEN_BYTES)
        try:
            async with asyncio.timeout(8 * EXCHANGE_SECONDS):
                await self._redis.set(TOKEN_KEY, token)
        except Exception as error:
            raise SharedCacheUnavailable(f"the shared cache cannot be reached: {_cause(error)}") from error
        self._token = token

    def _is_usable(self, request: bytes, state: State) -> bool:
        """Return whether Redis is used, and its token was read since the cache of this server was last cleared."""
        return self._used and state.generation == self._token_generation and len(request) <= MAX_REQUEST

    async def _write(self, key: bytes, value: bytes, milliseconds: int) -> None:
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                await self._redis.set(key, value, px=milliseconds)
        except Exception as error:  # full, or a replica: its values can still be read
            effect = "answers are not kept for other servers"
            self._writes_refused.failed(_with_text(error), traceback=False, effect=effect)

    async def _probe(self) -> None:
        """Read the token, or make one if there is none; use Redis if that works, and bypass it if not."""
        generation, began = self._generation.value, time.monotonic()
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                token = await self._redis.get(TOKEN_KEY)
                took = time.monotonic() - began
                if token is None:
                    await self._redis.set(TOKEN_KEY, os.urandom(_TOKEN_BYTES), nx=True)
                    token = await self._redis.get(TOKEN_KEY)
            if not isinstance(token, bytes) or not 0 < len(token) <= 4 * _TOKEN_BYTES:
                raise RedisError(f"{TOKEN_KEY.decode()} is not a token")
            if took > WAIT_SECONDS and not self._used and self._token:  # the first answer includes the connection
                raise TimeoutError(f"an answer took {1000 * took:.1f} ms; expected {1000 * WAIT_SECONDS:g} at most")
        except Exception as error:
            self._leave(error)
            return
        self._token, self._token_generation = token, generation
        if not self._used:
            self._used, self._late = True, 0
            self._metrics.cache_shared_failed.set(0)
        self._failures.succeeded()  # after each success: the log tells the recovery once it lasts

    def _leave(self, error: Exception) -> None:
        """Bypass Redis until the next probe."""
        self._used = False
        self._metrics.cache_shared_failed.set(1)
        level = logging.ERROR if self._token else logging.WARNING  # at the start, Redis may not be there yet
        effect = "what-ifs are answered without the shared cache"
        self._failures.failed(_with_text(error), traceback=False, level=level, effect=effect)


def _with_text(error: Exception) -> Exception:
    """Return an error that says something in a log: the text of some is empty."""
    return error if str(error) else RuntimeError(_cause(error))


def _cause(error: BaseException) -> str:
    return str(error) or type(error).__name__
