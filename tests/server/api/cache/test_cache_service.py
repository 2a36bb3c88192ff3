from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.builders.calls import refusal
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.fakes.what_ifs import what_if
from tests.support.processes.servers import async_worker

from dejavu.ops.v1 import cache_service_pb2 as pb
from dejavu.ops.v1.cache_service_pb2_grpc import CacheServiceStub
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub

if TYPE_CHECKING:
    from dejavu.ops.v1.cache_service_pb2_grpc import CacheServiceAsyncStub
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub


@pytest.fixture
def cache(channel: grpc.aio.Channel) -> CacheServiceAsyncStub:
    return CacheServiceStub(channel)


async def test_the_statistics_say_what_is_kept_and_how_often_it_helped(
    service: PredictionServiceAsyncStub, cache: CacheServiceAsyncStub
) -> None:
    empty = await cache.GetCacheStats(pb.GetCacheStatsRequest())
    assert (empty.backend, empty.workers, empty.entries, empty.hits) == (pb.CACHE_BACKEND_MEMORY, 1, 0, 0)
    assert not empty.HasField("hit_rate")
    for number in (0, 0, 0, 1):
        await service.Predict(what_if(number))
    stats = await cache.GetCacheStats(pb.GetCacheStatsRequest())
    assert (stats.entries, stats.hits, stats.misses, stats.evictions, stats.hit_rate) == (2, 2, 2, 0, 0.5)
    assert 0 < stats.memory_bytes < stats.max_memory_bytes == 16 * 2**20
    assert stats.max_age_seconds == 60
    assert stats.shared_state == pb.SHARED_CACHE_STATE_UNSPECIFIED


async def test_what_was_cleared_is_computed_again(
    service: PredictionServiceAsyncStub, cache: CacheServiceAsyncStub, model: PersistenceForecaster
) -> None:
    await service.Predict(what_if())
    assert (await cache.ClearCache(pb.ClearCacheRequest())).entries == 1
    assert (await cache.ClearCache(pb.ClearCacheRequest())).entries == 0
    model.groups.clear()
    await service.Predict(what_if())
    assert model.groups == [1]


async def test_warmed_what_ifs_are_not_computed_again_and_each_fails_on_its_own(
    service: PredictionServiceAsyncStub, cache: CacheServiceAsyncStub, model: PersistenceForecaster
) -> None:
    requests = [what_if(number) for number in range(100)]
    requests[70] = PredictRequest(pattern=[1, 2])
    first = await cache.WarmCache(pb.WarmCacheRequest(requests=requests))
    assert (first.computed, first.known, first.worker) == (99, 0, "0")
    [failure] = first.failures
    assert (failure.index, failure.error.reason) == (70, "UNSUPPORTED")
    again = await cache.WarmCache(pb.WarmCacheRequest(requests=requests))
    assert (again.computed, again.known, len(again.failures)) == (0, 99, 1)
    model.groups.clear()
    await service.Predict(requests[5])
    assert model.groups == []


async def test_a_cache_that_is_off_says_so_and_every_what_if_is_computed(tmp_path: Path) -> None:
    model = PersistenceForecaster()
    async with (
        async_worker(tmp_path, model, cache="off") as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        off: CacheServiceAsyncStub = CacheServiceStub(channel)
        predictions: PredictionServiceAsyncStub = PredictionServiceStub(channel)
        assert (await off.GetCacheStats(pb.GetCacheStatsRequest())).backend == pb.CACHE_BACKEND_OFF
        assert (await off.ClearCache(pb.ClearCacheRequest())).entries == 0
        refused = await refusal(off.WarmCache(pb.WarmCacheRequest(requests=[what_if()])))
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CACHE_OFF")
        model.groups.clear()
        for _ in range(2):
            await predictions.Predict(what_if())
        assert model.groups == [1, 1]
