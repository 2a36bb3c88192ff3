"""CacheService: statistics of the cache of what-ifs; clears the cache, and fills it in advance."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from dejavu.v1 import cache_service_pb2 as pb
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_server.api.cache.what_ifs import CachedWhatIfs, Predict
from dejavu_server.api.converters.errors import InvalidBatch, NamesGame
from dejavu_server.api.converters.prediction import MAX_BATCH
from dejavu_server.api.errors import item_error
from dejavu_server.api.handlers import Context
from dejavu_server.forecasting.cache.answers import CacheOff

CACHE_SERVICE = pb.DESCRIPTOR.services_by_name["CacheService"]

WARMED_AT_ONCE: Final = 64
"""Maximum number of requests that are computed together."""


class CacheService:
    """Manages the cache.

    Args:
        what_ifs: the cache; None: it is off.
        predict: computes answers.
        worker: name of the worker.
    """

    def __init__(self, what_ifs: CachedWhatIfs | None, predict: Predict, worker: str) -> None:
        self._what_ifs = what_ifs
        self._predict = predict
        self._worker = worker

    async def get_cache_stats(self, _: pb.GetCacheStatsRequest, __: Context) -> pb.GetCacheStatsResponse:
        """Return the statistics of all workers of the server."""
        if self._what_ifs is None:
            return pb.GetCacheStatsResponse(backend=pb.CACHE_BACKEND_OFF)
        found = self._what_ifs.cache.statistics()
        backend, state = pb.CACHE_BACKEND_REDIS, pb.SHARED_CACHE_STATE_USED
        if found.shared_used is None:
            backend, state = pb.CACHE_BACKEND_MEMORY, pb.SHARED_CACHE_STATE_UNSPECIFIED
        elif not found.shared_used:
            state = pb.SHARED_CACHE_STATE_FAILED
        asked = found.hits + found.misses
        response = pb.GetCacheStatsResponse(
            backend=backend,
            workers=found.workers,
            entries=found.entries,
            bytes=found.bytes,
            max_bytes=found.max_bytes,
            hits=found.hits,
            misses=found.misses,
            evictions=found.evictions,
            hit_rate=found.hits / asked if asked else None,
            shared_state=state,
        )
        response.max_age.FromTimedelta(self._what_ifs.max_age)
        return response

    async def clear_cache(self, _: pb.ClearCacheRequest, __: Context) -> pb.ClearCacheResponse:
        """Clear the cache; does nothing if it is off."""
        return pb.ClearCacheResponse(entries=0 if self._what_ifs is None else await self._what_ifs.cache.clear())

    async def warm_cache(self, request: pb.WarmCacheRequest, context: Context) -> pb.WarmCacheResponse:
        """Compute the answers that are not in the cache; each request fails on its own."""
        if self._what_ifs is None:
            raise CacheOff("the cache of this server is off (--cache off)")
        requests = _what_ifs(request)
        response = pb.WarmCacheResponse(worker=self._worker)
        for start in range(0, len(requests), WARMED_AT_ONCE):
            chunk = requests[start : start + WARMED_AT_ONCE]
            warming = (self._what_ifs.warm(each, context, self._predict) for each in chunk)
            for index, known in enumerate(await asyncio.gather(*warming, return_exceptions=True), start):
                if isinstance(known, BaseException):
                    response.failures.add(index=index, error=item_error(known))
                elif known:
                    response.known += 1
                else:
                    response.computed += 1
        return response


def _what_ifs(request: pb.WarmCacheRequest) -> Sequence[PredictRequest]:
    """Return the requests; raise InvalidBatch or NamesGame."""
    if not 1 <= len(request.requests) <= MAX_BATCH:
        raise InvalidBatch(f"{len(request.requests)} requests", f"1 to {MAX_BATCH}")
    for index, each in enumerate(request.requests):
        if each.game_id:
            raise NamesGame("a game", "none: only what-ifs are kept", field=f"requests[{index}].game_id")
    return request.requests
