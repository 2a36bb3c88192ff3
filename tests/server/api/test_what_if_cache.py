"""What-ifs that were answered before: never across a change, only to what-ifs, and equal to computed answers."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.calls import GAME, PATTERN, refusal
from tests.support.fakes.clock import SteppedClock
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.fakes.what_ifs import answered, untimed, what_if
from tests.support.processes.servers import settings_in, worker_and_channel

from dejavu.ops.v1 import cache_service_pb2 as pb
from dejavu.ops.v1.cache_service_pb2_grpc import CacheServiceStub
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, Market, Odds
from dejavu.v1.prediction_service_pb2 import PredictRequest, PredictResponse
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_common.clock import day_bounds, game_day
from dejavu_server.api.cache.cache_state import MAX_ANSWER, MAX_REQUEST, CacheToken
from dejavu_server.api.cache.what_ifs import ENTRY_BYTES, WhatIfCache
from dejavu_server.observability.metrics import Metrics
from dejavu_server.worker.worker import Worker

if TYPE_CHECKING:
    from dejavu.ops.v1.cache_service_pb2_grpc import CacheServiceAsyncStub
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub


class Computing:
    """Computes numbered answers; `history` identifies the outcomes learned so far."""

    def __init__(self, max_bytes: int = 2**20) -> None:
        self.clock = SteppedClock()
        self.history = b""
        self.computed = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.metrics = Metrics()
        self.cache = WhatIfCache(
            max_bytes, 60.0, self.metrics, CacheToken(), history=lambda: self.history, clock=self.clock
        )

    async def compute(self, size: int = 0) -> PredictResponse:
        self.computed += 1
        response = answered(self.computed, size, self.clock())
        await self.may_end.wait()
        return response

    async def ask(self, request: bytes = b"request") -> float:
        found = self.cache.find(request)
        if found is None:
            found, _ = await self.cache.answer(request, self.compute)
        return PredictResponse.FromString(found).forecast.point_forecast

    def sample(self, name: str) -> float:
        value = self.metrics.registry.get_sample_value(f"dejavu_cache_{name}")
        assert value is not None
        return value


@pytest.fixture
def computing() -> Computing:
    return Computing()


async def test_nothing_outlives_a_learned_outcome_a_day_of_games_its_age_or_a_clearing(computing: Computing) -> None:
    assert [await computing.ask(), await computing.ask()] == [1, 1]
    computing.history = b"an outcome"
    assert await computing.ask() == 2
    computing.clock.step(11 * 3600)  # the day of games begins at 11:00 UTC
    assert await computing.ask() == 3
    await computing.cache.clear()
    assert computing.sample("entries") == 0
    assert await computing.ask() == 4
    computing.clock.step(60)
    assert await computing.ask() == 5
    computing.clock.step(-1)
    assert await computing.ask() == 6, "it was made later"


async def test_an_entry_takes_no_more_memory_than_it_is_counted_with() -> None:
    computing = Computing(max_bytes=2**30)
    await computing.ask()
    tracemalloc.start()
    for number in range(2000):
        await computing.cache.answer(b"%060d" % number, partial(computing.compute, 300))
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken < computing.sample("bytes")


def test_all_workers_of_a_server_see_a_new_token_at_once(tmp_path: Path) -> None:
    one, other = CacheToken(tmp_path), CacheToken(tmp_path)
    other.value = b"7" * 8
    assert (one.value, CacheToken().value) == (b"7" * 8, bytes(8)), "the latter is of a worker that is alone"


@given(st.floats(1.6e9, 1.9e9))
def test_the_bounds_of_a_day_are_those_between_which_the_day_of_games_is_the_same(seconds: float) -> None:
    instant, tick = datetime.fromtimestamp(seconds, UTC), timedelta(microseconds=1)
    start, end = day_bounds(instant)
    assert start <= instant < end
    days = [game_day(each) for each in (start - tick, start, instant, end - tick, end)]
    assert days[0] < days[1] == days[2] == days[3] < days[4]


async def test_an_answer_that_was_begun_before_an_outcome_was_learned_is_not_kept(computing: Computing) -> None:
    computing.may_end.clear()
    asking = asyncio.create_task(computing.ask())
    await asyncio.sleep(0)
    computing.history = b"an outcome"
    computing.may_end.set()
    assert await asking == 1
    assert await computing.ask() == 2


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4000)), max_size=60))
async def test_the_bound_of_bytes_holds_and_what_was_used_last_stays(requests: list[tuple[int, int]]) -> None:
    computing = Computing(max_bytes=5 * ENTRY_BYTES + 6000)
    for number, size in requests:
        request = b"%d" % number
        await computing.cache.answer(request, partial(computing.compute, size))
        assert computing.sample("bytes") <= 5 * ENTRY_BYTES + 6000
        assert computing.sample("bytes") >= computing.sample("entries") * ENTRY_BYTES
        assert computing.cache.has(request)


async def test_large_requests_and_answers_are_not_kept(computing: Computing) -> None:
    for request, size, kept in ((MAX_REQUEST, 1, True), (MAX_REQUEST + 1, 1, False), (1, MAX_ANSWER + 1, False)):
        await computing.cache.answer(bytes(request), partial(computing.compute, size))
        assert computing.cache.has(bytes(request)) is kept


@pytest.fixture
def cache(channel: grpc.aio.Channel) -> CacheServiceAsyncStub:
    return CacheServiceStub(channel)


async def test_an_equal_what_if_is_not_computed_again_until_the_cache_is_cleared(
    service: PredictionServiceAsyncStub, cache: CacheServiceAsyncStub, model: PersistenceForecaster, worker: Worker
) -> None:
    model.groups.clear()  # those of the start
    first, *others, _ = [await service.Predict(what_if(number)) for number in (0, 0, 0, 1)]
    assert others == [first, first], "times included"
    assert model.groups == [1, 1]
    stats = await cache.GetCacheStats(pb.GetCacheStatsRequest())
    assert (stats.backend, stats.entries, stats.hits, stats.misses) == (pb.CACHE_BACKEND_MEMORY, 2, 2, 2)
    assert 0 < stats.memory_bytes < stats.max_memory_bytes
    [counted] = worker.metrics.forecasts.labels("persistence", "halftime", "what_if").collect()
    assert counted.samples[0].value == 4, "every answer is counted"
    named = PredictRequest(pattern=PATTERN, game_id=GAME, horizon=HORIZON_HALFTIME)
    assert {(await service.Predict(named)).forecast.sequence for _ in range(3)} == {1}, "never from the cache"
    assert [(await cache.ClearCache(pb.ClearCacheRequest())).entries for _ in range(2)] == [2, 0]
    model.groups.clear()
    requests = [what_if(number) for number in range(100)]
    requests[70] = PredictRequest(pattern=[1, 2])
    for computed, known in ((99, 0), (0, 99)):
        warmed = await cache.WarmCache(pb.WarmCacheRequest(requests=requests))
        assert (warmed.computed, warmed.known) == (computed, known)
        assert [(each.index, each.error.reason) for each in warmed.failures] == [(70, "UNSUPPORTED")]
    model.groups.clear()
    await service.Predict(requests[5])
    assert model.groups == []


async def test_a_cache_that_is_off_computes_every_what_if(tmp_path: Path) -> None:
    model = PersistenceForecaster()
    async with worker_and_channel(tmp_path, model, cache="off") as (_, channel):
        refused = await refusal(CacheServiceStub(channel).WarmCache(pb.WarmCacheRequest(requests=[what_if()])))
        assert refused.reason == "CACHE_OFF"
        model.groups.clear()
        for _ in range(2):
            await PredictionServiceStub(channel).Predict(what_if())
        assert model.groups == [1, 1]


OF_FINAL: Any = {"pattern": PATTERN, "horizon": HORIZON_FINAL, "home_team": "BOS", "away_team": "LAL"}
EVEN = Market(kind=MARKET_KIND_LEAD, line=-3.5, above=Odds(decimal=1.9), below=Odds(decimal=1.9))
WHAT_IFS = [
    what_if(),
    what_if(3),
    PredictRequest(**OF_FINAL, alpha=0.2),
    PredictRequest(**OF_FINAL, return_explanation=True, quantile_levels=[0.1, 0.5], markets=[EVEN]),
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
