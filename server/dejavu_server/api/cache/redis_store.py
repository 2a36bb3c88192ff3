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
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self, TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from dejavu_common import build
from dejavu_common.failure_log import FailureLog, text_of
from dejavu_models.errors import DejavuError
from dejavu_models.types import ModelInfo
from dejavu_server.api.cache.cache_state import MAX_ANSWER, TOKEN_BYTES, CacheToken, SharedCacheUnavailable
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.periodic import PeriodicTask
from dejavu_server.settings import Settings

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

SECRET_BYTES: Final = (16, 64)
"""Minimum and maximum length of the secret, in bytes."""

_CODE_BYTES: Final = 32

_log = structlog.get_logger(__name__)

T = TypeVar("T")


class CacheSecretError(DejavuError, reason="CACHE_SECRET"):
    """The file of the secret with which servers sign cached answers cannot be used."""


def sealed(secret: bytes, key: bytes, answer: bytes) -> bytes:
    """Return the value for a key: an answer behind its message authentication code."""
    return _digest(secret, b"answer", key, answer) + answer


def unsealed(secret: bytes, key: bytes, value: bytes) -> bytes:
    """Return the answer of a value.

    Raises:
        ValueError: if the value was not made by `sealed` for this key with this secret.
    """
    code, answer = value[:_CODE_BYTES], value[_CODE_BYTES:]
    if len(answer) > MAX_ANSWER or not hmac.compare_digest(code, _digest(secret, b"answer", key, answer)):
        raise ValueError("the code does not match: damaged, moved, or made with another secret")
    return answer


def _digest(secret: bytes, *parts: bytes) -> bytes:
    digest = hashlib.blake2b(key=secret, digest_size=_CODE_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(4) + part)
    return digest.digest()


class RedisStore:
    """Answers in Redis; must be used on one event loop. A context in which it is connected.

    Args:
        settings: settings of the server; answers of servers with other common ones are not used.
        models: its models, first the active one, which answers requests that name no model.
        metrics: counts lookups.
        token: the token of all workers of the server, which is set to that in Redis.

    Attributes:
        is_used: whether lookups are sent to Redis at present.

    Raises:
        CacheSecretError: if the file of the secret cannot be used.
    """

    def __init__(self, settings: Settings, models: Sequence[ModelInfo], metrics: Metrics, token: CacheToken) -> None:
        self._secret = _secret(settings.cache_secret)
        pool = BlockingConnectionPool.from_url(
            settings.cache,
            max_connections=MAX_CONNECTIONS,
            timeout=EXCHANGE_SECONDS,
            socket_connect_timeout=EXCHANGE_SECONDS,
            socket_timeout=EXCHANGE_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = Redis.from_pool(pool)
        # With a store the models can change: their versions are part of the history.
        lasting = [] if settings.model_store else [(model.version, model.approved) for model in models]
        inputs = [build.release(), settings.common(), lasting]
        self._inputs = json.dumps(inputs, sort_keys=True, default=str).encode()
        self._metrics, self._token = metrics, token
        self.is_used = self._found = False
        self._late = 0
        self._writes = set[asyncio.Task[None]]()
        self._probing = PeriodicTask("shared-cache", PROBE_SECONDS, self._probe)
        self._failures = FailureLog(_log, failed="shared_cache_failed", recovered="shared_cache_recovered")
        self._writes_refused = FailureLog(_log, failed="shared_cache_not_written")

    async def __aenter__(self) -> Self:
        """Connect; return after the first attempt, whether it succeeded or not."""
        await self._probe()
        self._probing.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._probing.close()
        for task in self._writes:
            task.cancel()
        with contextlib.suppress(Exception):
            await self._redis.aclose()

    async def get(self, request: bytes, state: bytes, read: Callable[[bytes], T]) -> T | None:
        """Return the answer to a request as `read` returns it; None if there is none, or it is not known in time."""
        if not self.is_used:
            return None
        key, value, answer, result = self._key(request, state), None, None, "miss"
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                value = await self._redis.get(key)
            self._late = 0
        except Exception as error:
            late = isinstance(error, TimeoutError)
            result, self._late = "late" if late else "failed", self._late + 1
            if not late or self._late >= MAX_LATE:
                self._leave(error)
        if isinstance(value, bytes):
            try:
                answer, result = read(unsealed(self._secret, key, value)), "hit"
            except Exception as error:  # of `read` too: nothing in Redis makes a call fail
                result = "invalid"
                _log.debug("shared_cache_entry_ignored", reason=str(error))
        self._metrics.cache_shared.labels(result).inc()
        return answer

    def put(self, request: bytes, state: bytes, answer: bytes, seconds: float) -> None:
        """Keep an answer for some seconds, without waiting for it."""
        milliseconds = int(1000 * seconds)
        if self.is_used and len(self._writes) < MAX_WRITES and milliseconds > 0:
            task = asyncio.create_task(self._write(self._key(request, state), answer, milliseconds))
            self._writes.add(task)
            task.add_done_callback(self._writes.discard)

    async def set_token(self, token: bytes) -> None:
        """Clear the cache for all servers, by another token.

        Raises:
            SharedCacheUnavailable: if Redis cannot be reached.
        """
        try:
            async with asyncio.timeout(8 * EXCHANGE_SECONDS):
                await self._redis.set(TOKEN_KEY, token)
        except Exception as error:
            raise SharedCacheUnavailable(f"the shared cache cannot be reached: {text_of(error)}") from error

    def _key(self, request: bytes, state: bytes) -> bytes:
        return PREFIX + _digest(self._secret, b"key", self._inputs, state, request).hex().encode()

    async def _write(self, key: bytes, answer: bytes, milliseconds: int) -> None:
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                await self._redis.set(key, sealed(self._secret, key, answer), px=milliseconds)
        except ResponseError as error:  # full, or a replica: its values can still be read
            self._writes_refused.failed(error, traceback=False, effect="answers are not kept for other servers")
        except Exception as error:
            self._leave(error)

    async def _probe(self) -> None:
        """Read the token, or make one if there is none; use Redis if that works, and bypass it if not."""
        known, began = self._token.value, time.monotonic()
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS):
                token = await self._redis.get(TOKEN_KEY)
                took = time.monotonic() - began
                if token is None:
                    await self._redis.set(TOKEN_KEY, os.urandom(TOKEN_BYTES), nx=True)
                    token = await self._redis.get(TOKEN_KEY)
            if not isinstance(token, bytes) or len(token) != TOKEN_BYTES:
                raise RedisError(f"{TOKEN_KEY.decode()} is not a token")
            if took > WAIT_SECONDS and not self.is_used and self._found:  # the first answer includes the connection
                raise TimeoutError(f"an answer took {1000 * took:.1f} ms; expected {1000 * WAIT_SECONDS:g} at most")
        except Exception as error:
            self._leave(error)
            return
        if self._token.value == known:  # not cleared meanwhile, perhaps after Redis answered
            self._token.value = token
        if not self.is_used:
            self.is_used, self._found, self._late = True, True, 0
            self._metrics.cache_shared_failed.set(0)
        self._failures.succeeded()  # after each success: the log tells the recovery once it lasts

    def _leave(self, error: Exception) -> None:
        """Bypass Redis until the next probe."""
        self.is_used = False
        self._metrics.cache_shared_failed.set(1)
        level = logging.ERROR if self._found else logging.WARNING  # at the start, Redis may not be there yet
        effect = "what-ifs are answered without the shared cache"
        self._failures.failed(error, traceback=False, level=level, effect=effect)


def _secret(path: str) -> bytes:
    """Return the secret in a file; empty if there is no path."""
    if not path:
        return b""
    least, most = SECRET_BYTES
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as error:
        raise CacheSecretError(f"--cache-secret: cannot read {path}: {error.strerror}") from error
    if not least <= len(secret) <= most:
        raise CacheSecretError(f"--cache-secret: {path} has {len(secret)} bytes; expected {least} to {most}")
    return secret
