"""Cache calls of the asynchronous client; cache.py is generated from this file by `make gen`."""
# ruff: noqa: ASYNC109 - timeout is a deadline sent to the server, not a local one

from __future__ import annotations

from collections.abc import Iterable

from dejavu.ops.v1.cache_service_pb2 import (
    ClearCacheRequest,
    ClearCacheResponse,
    GetCacheStatsRequest,
    GetCacheStatsResponse,
    WarmCacheRequest,
    WarmCacheResponse,
)
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_client.transport.aio_caller import AsyncCaller


class AsyncCacheCalls(AsyncCaller):
    """The methods of AsyncDejavuClient for the server's cache of what-ifs."""

    async def get_cache_stats(self, *, timeout: float | None = None) -> GetCacheStatsResponse:
        """Return the statistics of the server's cache of what-ifs, over all of its workers.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = GetCacheStatsRequest()
        return await self._unary("GetCacheStats", lambda stubs: stubs.cache.GetCacheStats, request, timeout)

    async def clear_cache(self, *, timeout: float | None = None) -> ClearCacheResponse:
        """Clear the server's cache of what-ifs in all of its workers, and the one that servers share. Safe to repeat.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        return await self._unary("ClearCache", lambda stubs: stubs.cache.ClearCache, ClearCacheRequest(), timeout)

    async def warm_cache(
        self, requests: Iterable[PredictRequest], *, timeout: float | None = None
    ) -> WarmCacheResponse:
        """Compute and cache the answers to 1 to 1,000 what-ifs in the answering worker. Safe to repeat.

        Args:
            requests: requests created with `predict_request`, without a `game_id`.
            timeout: deadline of this call, in seconds; None for the client's.

        Raises:
            FailedPreconditionError: if the cache is off.
        """
        request = WarmCacheRequest(requests=requests)
        return await self._unary("WarmCache", lambda stubs: stubs.cache.WarmCache, request, timeout)
