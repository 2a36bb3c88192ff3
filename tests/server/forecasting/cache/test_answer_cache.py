from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fakes.clock import SteppedClock
from tests.support.fakes.what_ifs import cached

from dejavu_feed.game_day import day_bounds, game_day
from dejavu_server.forecasting.cache.answer_cache import AnswerCache
from dejavu_server.forecasting.cache.fingerprint import Validity
from dejavu_server.forecasting.cache.generation import CacheGeneration
from dejavu_server.forecasting.cache.memory import Answer, MemoryCache
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.statistics import Statistics


class Computing:
    """Computes answers one after the other; `history` is what was learned."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.history = b""
        self.computed = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.metrics = Metrics()
        self.cache = AnswerCache(
            MemoryCache(2**20),
            self.metrics,
            CacheGeneration(),
            Statistics(self.metrics.registry, "server", list).sample,
            history=lambda: self.history,
            clock=self.clock,
        )

    async def compute(self) -> Answer:
        self.computed += 1
        data = b"answer %d" % self.computed
        await self.may_end.wait()
        return cached(data, generated=self.clock())

    async def ask(self, request: bytes = b"request") -> bytes:
        found = self.cache.get(request)
        if found is None:
            found, _ = await self.cache.answer(request, "caller", self.compute)
        return found.data

    def hits_and_misses(self) -> tuple[int, int]:
        statistics = self.cache.statistics()
        return statistics.hits, statistics.misses


@pytest.fixture
def computing() -> Computing:
    return Computing()


async def test_an_equal_request_is_answered_without_being_computed_again(computing: Computing) -> None:
    assert [await computing.ask() for _ in range(3)] == [b"answer 1"] * 3
    assert await computing.ask(b"another") == b"answer 2"
    assert computing.hits_and_misses() == (2, 2)
    labels = {"model": "model", "horizon": "halftime", "kind": "what_if"}
    assert computing.metrics.registry.get_sample_value("dejavu_forecasts_total", labels) == 2


async def test_nothing_of_before_is_returned_once_an_outcome_was_learned_or_a_day_began_or_it_was_cleared(
    computing: Computing,
) -> None:
    assert await computing.ask() == b"answer 1"
    computing.history = b"an outcome"
    assert await computing.ask() == b"answer 2"
    computing.clock.step(11 * 3600)  # the day of games begins at 11:00 UTC
    assert await computing.ask() == b"answer 3"
    assert await computing.cache.clear() == 1
    assert await computing.ask() == b"answer 4"
    assert await computing.ask() == b"answer 4"


async def test_an_answer_that_was_begun_before_an_outcome_was_learned_is_not_kept(computing: Computing) -> None:
    computing.may_end.clear()
    asking = asyncio.create_task(computing.ask())
    await asyncio.sleep(0)
    computing.history = b"an outcome"
    computing.may_end.set()
    assert await asking == b"answer 1"
    assert await computing.ask() == b"answer 2"


async def test_equal_requests_at_once_are_computed_once(computing: Computing) -> None:
    computing.may_end.clear()
    asking = [asyncio.create_task(computing.ask()) for _ in range(20)]
    await asyncio.sleep(0)
    computing.may_end.set()
    assert await asyncio.gather(*asking) == [b"answer 1"] * 20
    assert computing.hits_and_misses() == (19, 1)


async def test_calls_that_wait_for_one_that_is_cancelled_compute_their_own_answers(computing: Computing) -> None:
    computing.may_end.clear()
    first = asyncio.create_task(computing.ask())
    await asyncio.sleep(0)
    others = [asyncio.create_task(computing.ask()) for _ in range(3)]
    await asyncio.sleep(0)
    first.cancel()
    computing.may_end.set()
    assert sorted(await asyncio.gather(*others)) == [b"answer 2", b"answer 3", b"answer 4"]
    assert first.cancelled()


async def test_a_waiting_call_that_is_cancelled_does_not_end_the_computation(computing: Computing) -> None:
    computing.may_end.clear()
    first = asyncio.create_task(computing.ask())
    await asyncio.sleep(0)
    second = asyncio.create_task(computing.ask())
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    computing.may_end.set()
    assert await first == b"answer 1"


class OldAnswers:
    """A cache of several servers that has only answers from before."""

    token, is_used = b"", True

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def get(self, request: bytes, validity: Validity) -> Answer | None:
        """Returns the old answer."""
        await asyncio.sleep(0)
        return self._answer

    def put(self, request: bytes, validity: Validity, answer: Answer) -> None:
        """Keeps nothing."""

    async def clear(self) -> None:
        """Clears nothing."""


async def test_calls_that_wait_do_not_get_an_old_answer_of_a_shared_cache() -> None:
    clock, metrics = SteppedClock(), Metrics()
    old = cached(b"old", generated=clock() - timedelta(days=1))
    memory = MemoryCache(2**20)
    statistics = Statistics(metrics.registry, "server", list)
    cache = AnswerCache(
        memory,
        metrics,
        CacheGeneration(),
        statistics.sample,
        history=lambda: b"",
        clock=clock,
        shared=OldAnswers(old),
    )

    async def refuse() -> Answer:
        raise ValueError("refused")

    asking = [cache.answer(b"request", "caller", refuse) for _ in range(3)]
    assert [type(each) for each in await asyncio.gather(*asking, return_exceptions=True)] == [ValueError] * 3


async def test_a_call_after_an_outcome_does_not_wait_for_one_from_before(computing: Computing) -> None:
    computing.may_end.clear()
    first = asyncio.create_task(computing.ask())
    await asyncio.sleep(0)
    computing.history = b"an outcome"
    second = asyncio.create_task(computing.ask())
    await asyncio.sleep(0)
    computing.may_end.set()
    assert (await first, await second) == (b"answer 1", b"answer 2")
    assert await computing.ask() == b"answer 2"


async def test_errors_are_raised_to_who_asked_and_not_kept(computing: Computing) -> None:
    async def refuse() -> Answer:
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await computing.cache.answer(b"request", "caller", refuse)
    assert await computing.ask() == b"answer 1"
    assert computing.hits_and_misses() == (0, 1)


@given(st.floats(1.6e9, 1.9e9))
def test_the_bounds_of_a_day_are_those_between_which_the_day_of_games_is_the_same(seconds: float) -> None:
    instant = datetime.fromtimestamp(seconds, UTC)
    start, end = day_bounds(instant)
    assert start <= instant < end
    tick = timedelta(microseconds=1)
    days = [game_day(each) for each in (start - tick, start, instant, end - tick, end)]
    assert days[0] < days[1] == days[2] == days[3] < days[4]
