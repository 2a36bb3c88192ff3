"""CacheService: statistics of the cache of what-ifs; clears the cache, and fills it in advance. Opens the cache."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from dejavu.ops.v1 import cache_service_pb2 as pb
from dejavu.v1.prediction_service_pb2 import PredictRequest, PredictResponse
from dejavu_common.build import install
from dejavu_models.errors import DejavuError
from dejavu_models.types import ModelInfo
from dejavu_server.api.cache.cache_state import CacheOff, CacheToken
from dejavu_server.api.cache.what_ifs import WhatIfCache
from dejavu_server.api.converters.fields import NamesGame
from dejavu_server.api.converters.prediction import batch_requests
from dejavu_server.api.errors import item_error
from dejavu_server.limits import Caller
from dejavu_server.observability import statistics as counted
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.periodic import PeriodicTask
from dejavu_server.observability.statistics import ServerStatistics
from dejavu_server.settings import Settings

CACHE_SERVICE = pb.DESCRIPTOR.services_by_name["CacheService"]

WARMED_AT_ONCE: Final = 64
"""Maximum number of requests that are computed together."""

_MAX_BYTES: Final = 16 * 1024 * 1024
"""Maximum memory of a worker for answers."""

_KEPT_SECONDS: Final = 60.0
"""Maximum age of an answer; it is never kept longer than it is current."""

_REFRESH_SECONDS: Final = 1.0
"""Interval at which a worker without calls notices that its cached answers are no longer valid."""


class CacheNotInstalled(DejavuError, reason="CACHE_NOT_INSTALLED"):
    """The packages of a shared cache are not installed."""


class CacheService:
    """Manages the cache.

    Args:
        cache: the cache; None: it is off.
        predict: computes answers.
        worker: name of the worker.
        workers: number of workers of the server.
        server: returns the statistics of the server.
    """

    def __init__(
        self,
        cache: WhatIfCache | None,
        predict: Callable[[PredictRequest, Caller], Awaitable[PredictResponse]],
        worker: str,
        workers: int,
        server: Callable[[], ServerStatistics],
    ) -> None:
        self._cache, self._predict, self._worker = cache, predict, worker
        self._workers, self._server = workers, server

    async def get_cache_stats(self, _: pb.GetCacheStatsRequest, __: Caller) -> pb.GetCacheStatsResponse:
        """Return the statistics of all workers of the server."""
        if self._cache is None:
            return pb.GetCacheStatsResponse(backend=pb.CACHE_BACKEND_OFF)
        shared, server = self._cache.shared, self._server()
        hits, misses = (round(server.since_start.get(name, 0)) for name in (counted.CACHE_HITS, counted.CACHE_MISSES))
        response = pb.GetCacheStatsResponse(
            backend=pb.CACHE_BACKEND_MEMORY if shared is None else pb.CACHE_BACKEND_REDIS,
            workers=self._workers,
            entries=round(server.states.get(counted.CACHE_ENTRIES, 0)),
            memory_bytes=round(server.states.get(counted.CACHE_BYTES, 0)),
            max_memory_bytes=self._workers * self._cache.max_bytes,
            hits=hits,
            misses=misses,
            evictions=round(server.since_start.get(counted.CACHE_EVICTIONS, 0)),
            hit_rate=hits / (hits + misses) if hits + misses else None,
            max_age_seconds=self._cache.max_age.total_seconds(),
        )
        if shared is not None:
            used = shared.is_used
            response.shared_state = pb.SHARED_CACHE_STATE_USED if used else pb.SHARED_CACHE_STATE_FAILED
        return response

    async def clear_cache(self, _: pb.ClearCacheRequest, __: Caller) -> pb.ClearCacheResponse:
        """Clear the cache; does nothing if it is off."""
        if self._cache is None:
            return pb.ClearCacheResponse()
        response = pb.ClearCacheResponse(entries=round(self._server().states.get(counted.CACHE_ENTRIES, 0)))
        await self._cache.clear()
        return response

    async def warm_cache(self, request: pb.WarmCacheRequest, caller: Caller) -> pb.WarmCacheResponse:
        """Compute the answers that are not in the cache; each request fails on its own."""
        if self._cache is None:
            raise CacheOff("the cache of this server is off (--cache off)")
        requests = batch_requests(request)
        for index, each in enumerate(requests):
            if each.game_id:
                raise NamesGame("a game", "none: only what-ifs are kept", field=f"requests[{index}].game_id")
        response = pb.WarmCacheResponse(worker=self._worker)
        for start in range(0, len(requests), WARMED_AT_ONCE):
            chunk = requests[start : start + WARMED_AT_ONCE]
            warming = (self._warm(self._cache, each, caller) for each in chunk)
            for index, known in enumerate(await asyncio.gather(*warming, return_exceptions=True), start):
                if isinstance(known, BaseException):
                    response.failures.add(index=index, error=item_error(known))
                elif known:
                    response.known += 1
                else:
                    response.computed += 1
        return response

    async def _warm(self, cache: WhatIfCache, request: PredictRequest, caller: Caller) -> bool:
        """Ensure that the answer to a what-if is cached; return whether it already was."""
        data = request.SerializeToString()
        return cache.has(data) or (await cache.answer(data, partial(self._predict, request, caller)))[1]


async def open_cache(
    stack: AsyncExitStack,
    settings: Settings,
    metrics: Metrics,
    folder: Path | None,
    *,
    models: Sequence[ModelInfo],
    history: Callable[[], bytes],
    clock: Callable[[], datetime],
) -> WhatIfCache | None:
    """Return the cache of a worker, started; None if it is off.

    Args:
        stack: closes it.
        settings: settings of the worker.
        metrics: its metrics.
        folder: folder of the server; None: the worker is alone.
        models: its models, first the active one.
        history: returns the identity of the models' learned state and the meaning of their names.
        clock: returns the current time, aware and in UTC.

    Raises:
        CacheSecretError: if the file of the secret cannot be used.
        CacheNotInstalled: if redis-py is needed and not installed.
    """
    if settings.cache == "off":
        return None
    token, shared = CacheToken(folder), None
    if settings.cache != "memory":
        if find_spec("redis") is None:
            raise CacheNotInstalled(f"--cache with a URL needs redis: {install('redis')}")
        # Not at the top: an optional dependency, whose import takes 0.1 s.
        from dejavu_server.api.cache.redis_store import RedisStore  # noqa: PLC0415

        shared = await stack.enter_async_context(RedisStore(settings, models, metrics, token))
    cache = WhatIfCache(_MAX_BYTES, _KEPT_SECONDS, metrics, token, history=history, clock=clock, shared=shared)
    refreshing = PeriodicTask("cache-refresh", _REFRESH_SECONDS, cache.refresh)
    stack.push_async_callback(refreshing.close)
    refreshing.start()
    return cache
