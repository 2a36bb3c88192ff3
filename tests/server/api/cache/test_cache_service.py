"""The cache of a real worker: answers equal to computed ones, never across a change, and only to what-ifs."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.builders.calls import GAME, PATTERN, refusal
from tests.support.fakes.clock import SteppedClock
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.fakes.what_ifs import untimed, what_if
from tests.support.processes.servers import settings_in, worker_and_channel

from dejavu.ops.v1 import cache_service_pb2 as pb
from dejavu.ops.v1.cache_service_pb2_grpc import CacheServiceStub
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, Market, Odds
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_server.worker.worker import Worker

if TYPE_CHECKING:
    from dejavu.ops.v1.cache_service_pb2_grpc import CacheServiceAsyncStub
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub


@pytest.fixture
def cache(channel: grpc.aio.Channel) -> CacheServiceAsyncStub:
    return CacheServiceStub(channel)


async def test_an_equal_what_if_is_not_computed_again_until_the_cache_is_cleared(
    service: PredictionServiceAsyncStub, cache: CacheServiceAsyncStub, model: PersistenceForecaster, worker: Worker
) -> None:
    model.groups.clear()  # those of the start
    empty = await cache.GetCacheStats(pb.GetCacheStatsRequest())
    assert (empty.backend, empty.workers, empty.entries, empty.hits) == (pb.CACHE_BACKEND_MEMORY, 1, 0, 0)
    assert not empty.HasField("hit_rate")
    first, *others, _ = [await service.Predict(what_if(number)) for number in (0, 0, 0, 1)]
    assert others == [first, first], "times included"
    assert model.groups == [1, 1]
    stats = await cache.GetCacheStats(pb.GetCacheStatsRequest())
    assert (stats.entries, stats.hits, stats.misses, stats.evictions, stats.hit_rate) == (2, 2, 2, 0, 0.5)
    assert 0 < stats.memory_bytes < stats.max_memory_bytes == 16 * 2**20
    assert stats.max_age_seconds == 60
    assert stats.shared_state == pb.SHARED_CACHE_STATE_UNSPECIFIED
    [counted] = worker.metrics.forecasts.labels("persistence", "halftime", "what_if").collect()
    assert counted.samples[0].value == 4, "every answer is counted"
    assert [(await cache.ClearCache(pb.ClearCacheRequest())).entries for _ in range(2)] == [2, 0]
    await service.Predict(what_if())
    assert model.groups == [1, 1, 1]


async def test_a_named_forecast_is_never_answered_from_the_cache(
    service: PredictionServiceAsyncStub, cache: CacheServiceAsyncStub, model: PersistenceForecaster
) -> None:
    named = PredictRequest(pattern=PATTERN, game_id=GAME, horizon=HORIZON_HALFTIME)
    model.groups.clear()
    await service.Predict(what_if())
    sequences = {(await service.Predict(named)).forecast.sequence for _ in range(3)}
    assert len(sequences) == 1
    assert 0 not in sequences
    assert model.groups == [1] * 4
    assert not (await service.Predict(what_if())).forecast.sequence
    assert (await cache.GetCacheStats(pb.GetCacheStatsRequest())).hits == 1


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
    async with worker_and_channel(tmp_path, model, cache="off") as (_, channel):
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


WHAT_IFS = [
    what_if(),
    what_if(3),
    PredictRequest(pattern=PATTERN, horizon=HORIZON_FINAL, home_team="BOS", away_team="LAL", alpha=0.2),
    PredictRequest(
        pattern=PATTERN,
        horizon=HORIZON_FINAL,
        home_team="BOS",
        away_team="LAL",
        return_explanation=True,
        quantile_levels=[0.1, 0.5],
        markets=[Market(kind=MARKET_KIND_LEAD, line=-3.5, above=Odds(decimal=1.9), below=Odds(decimal=1.9))],
    ),
]


async def test_answers_with_the_cache_equal_those_without_to_the_last_bit_across_outcomes(tmp_path: Path) -> None:
    """Two workers on one ledger whose intervals and ratings learn; one of them has the cache."""
    rng, clock = random.Random(1), SteppedClock()
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(
                Worker(settings_in(tmp_path, adaptive="on", cache=cache), clock=clock, name=cache)
            )
            for cache in ("memory", "off")
        ]
        clients = [await stack.enter_async_context(AsyncDejavuClient(each.address)) for each in workers]
        stubs: list[PredictionServiceAsyncStub] = [
            PredictionServiceStub(await stack.enter_async_context(grpc.aio.insecure_channel(each.address)))
            for each in workers
        ]
        answers, reported = set[bytes](), dict[str, int]()
        for step in range(40):
            match rng.choice(["ask"] * 6 + ["report", "report", "withdraw", "wait", "clear"]):
                case "report":
                    game = f"00225{step:05d}"
                    client, differential = clients[step % 2], rng.randint(20, 30)
                    await client.predict(PATTERN, game_id=game, horizon=FINAL, home_team="BOS", away_team="LAL")
                    report = await client.report_outcome(
                        game, differential, horizon=FINAL, home_team="BOS", away_team="LAL"
                    )
                    reported[game] = report.outcome.sequence
                case "withdraw" if reported:
                    await clients[0].withdraw_outcome(reported.popitem()[0], horizon=FINAL)
                case "wait":
                    clock.step(rng.choice([1, 61, 20_000]))
                case "clear":
                    await clients[0].clear_cache()
            await learned(stubs, max(reported.values(), default=0))
            for request in rng.choices(WHAT_IFS, k=3):
                cached, computed = [untimed(await stub.Predict(request)) for stub in stubs]
                assert cached == computed
                answers.add(computed)
        assert len(answers) > len(WHAT_IFS), "nothing was learned"
        stats = await clients[0].get_cache_stats()
        assert stats.hits > 50, "40 of them while it was waited for what was learned"


async def learned(stubs: Sequence[PredictionServiceAsyncStub], sequence: int) -> None:
    """Wait until the newest outcome from which the workers have learned has a sequence."""
    async with asyncio.timeout(30):
        for stub in stubs:
            while (await stub.Predict(what_if())).forecast.calibration_sequence != sequence:  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(0.01)
