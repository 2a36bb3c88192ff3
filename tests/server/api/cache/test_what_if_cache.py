from __future__ import annotations

import asyncio
import tracemalloc
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fakes.clock import SteppedClock
from tests.support.fakes.what_ifs import answered

from dejavu.v1.prediction_service_pb2 import PredictResponse
from dejavu_common.clock import day_bounds, game_day
from dejavu_server.api.cache.cache_state import MAX_ANSWER, MAX_REQUEST, CacheToken
from dejavu_server.api.cache.what_ifs import ENTRY_BYTES, WhatIfCache
from dejavu_server.observability.metrics import Metrics


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


async def test_nothing_of_before_is_returned_once_an_outcome_was_learned_or_a_day_began_or_it_was_cleared(
    computing: Computing,
) -> None:
    assert await computing.ask() == 1
    computing.history = b"an outcome"
    assert await computing.ask() == 2
    computing.clock.step(11 * 3600)  # the day of games begins at 11:00 UTC
    assert await computing.ask() == 3
    await computing.cache.clear()
    assert computing.sample("entries") == 0
    assert await computing.ask() == 4
    assert await computing.ask() == 4


async def test_an_answer_that_was_begun_before_an_outcome_was_learned_is_not_kept(computing: Computing) -> None:
    computing.may_end.clear()
    asking = asyncio.create_task(computing.ask())
    await asyncio.sleep(0)
    computing.history = b"an outcome"
    computing.may_end.set()
    assert await asking == 1
    assert await computing.ask() == 2


@pytest.mark.parametrize("step", [-1, 60])
async def test_an_answer_is_used_until_it_is_too_old_and_not_before_it_was_made(step: int) -> None:
    computing = Computing()
    assert [await computing.ask(), await computing.ask()] == [1] * 2
    computing.clock.step(step)
    assert await computing.ask() == 2


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4000)), max_size=60))
async def test_the_bound_of_bytes_holds_whatever_is_kept_and_what_was_used_last_stays(
    requests: list[tuple[int, int]],
) -> None:
    computing = Computing(max_bytes=5 * ENTRY_BYTES + 6000)
    for number, size in requests:
        request = b"%d" % number
        await computing.cache.answer(request, partial(computing.compute, size))
        assert computing.sample("bytes") <= 5 * ENTRY_BYTES + 6000
        assert computing.sample("bytes") >= computing.sample("entries") * ENTRY_BYTES
        assert computing.cache.has(request)


@pytest.mark.parametrize(
    ("request_bytes", "answer_bytes", "kept"),
    [(MAX_REQUEST, 1, True), (MAX_REQUEST + 1, 1, False), (1, MAX_ANSWER + 1, False)],
)
async def test_large_requests_and_answers_are_not_kept(request_bytes: int, answer_bytes: int, kept: bool) -> None:
    computing, request = Computing(), bytes(request_bytes)
    await computing.cache.answer(request, partial(computing.compute, answer_bytes))
    assert computing.cache.has(request) is kept


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
    assert one.value == bytes(8)
    other.value = b"7" * 8
    assert one.value == CacheToken(tmp_path).value == b"7" * 8
    assert CacheToken().value == bytes(8), "of a worker that is alone"


@given(st.floats(1.6e9, 1.9e9))
def test_the_bounds_of_a_day_are_those_between_which_the_day_of_games_is_the_same(seconds: float) -> None:
    instant = datetime.fromtimestamp(seconds, UTC)
    start, end = day_bounds(instant)
    assert start <= instant < end
    tick = timedelta(microseconds=1)
    days = [game_day(each) for each in (start - tick, start, instant, end - tick, end)]
    assert days[0] < days[1] == days[2] == days[3] < days[4]
