from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest
from tests.support.fakes.forecasters import PersistenceForecaster

from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.types import Forecast
from dejavu_server.forecasting.batcher import CHUNK, MAX_ON_LOOP, QUIET_TURNS, Batcher
from dejavu_server.limits import CallerLimit, Overloaded
from dejavu_server.observability.metrics import Metrics


def query(last: float) -> ForecastQuery:
    return ForecastQuery(ScorePattern((*[0.0] * 17, last)))


def held(model: PersistenceForecaster) -> tuple[threading.Event, threading.Event]:
    """Make a model wait when it computes; return the events of its start and its release."""
    begun, release = threading.Event(), threading.Event()

    def hold(_: Sequence[ForecastQuery]) -> None:
        begun.set()
        assert release.wait(10)

    model.before = hold
    return begun, release


@pytest.fixture
def model() -> PersistenceForecaster:
    return PersistenceForecaster()


@pytest.fixture
async def batcher() -> AsyncIterator[Batcher]:
    made = Batcher(Metrics())
    yield made
    await made.close()


@pytest.mark.parametrize("turns_apart", [0, 1, QUIET_TURNS])
async def test_close_calls_are_one_group(batcher: Batcher, model: PersistenceForecaster, turns_apart: int) -> None:
    calls = []
    for last in range(5):
        calls.append(asyncio.create_task(batcher.forecast(model, query(last))))
        for _ in range(turns_apart):
            await asyncio.sleep(0)
    assert [answer.point for answer in await asyncio.gather(*calls)] == [0, 1, 2, 3, 4]
    assert model.groups == [5]


async def test_an_exception_fails_only_the_query_that_causes_it(batcher: Batcher, model: PersistenceForecaster) -> None:
    def refuse(queries: Sequence[ForecastQuery]) -> None:
        if any(each.pattern.last == -77 for each in queries):
            raise ZeroDivisionError

    model.before = refuse
    calls = (batcher.forecast(model, query(last)) for last in (1, -77, 3))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [getattr(answer, "point", None) for answer in answers] == [1, None, 3]
    assert isinstance(answers[1], ZeroDivisionError)


async def test_work_of_gone_callers_is_dropped(batcher: Batcher, model: PersistenceForecaster) -> None:
    begun, release = held(model)
    first = asyncio.create_task(batcher.forecast_many(model, [query(1)] * 2))
    await asyncio.to_thread(begun.wait, 10)
    crowd = [asyncio.create_task(batcher.forecast(model, query(last))) for last in range(MAX_ON_LOOP + 10)]
    for _ in range(2 * QUIET_TURNS):  # until the crowd waits for the thread
        await asyncio.sleep(0)
    many = asyncio.create_task(batcher.forecast_many(model, [query(1)] * 7))
    await asyncio.sleep(0)
    for gone in [*crowd[:10], many]:
        gone.cancel()
    await asyncio.wait([many, *crowd[:10]])
    release.set()
    await first
    assert [(await task).point for task in crowd[10:]] == list(range(10, MAX_ON_LOOP + 10))
    await batcher.close()
    assert model.groups == [2, MAX_ON_LOOP]


async def test_a_crowd_is_computed_in_chunks_off_the_loop(batcher: Batcher, model: PersistenceForecaster) -> None:
    threads = set[int]()
    model.before = lambda _: threads.add(threading.get_ident())
    leads = [number / 4 for number in range(3 * CHUNK - 1)]
    answers = await asyncio.gather(*(batcher.forecast(model, query(last)) for last in leads))
    assert [answer.point for answer in answers] == leads
    assert model.groups == [CHUNK, CHUNK, CHUNK - 1]
    assert threading.get_ident() not in threads


async def test_explained_queries_of_a_call_are_few_in_a_pass(batcher: Batcher, model: PersistenceForecaster) -> None:
    """Each runs the model on all earlier minutes; a thread that ends no pass for seconds counts as hung."""
    explained = ForecastQuery(query(1).pattern, explain=True)
    await batcher.forecast_many(model, [explained] * (2 * MAX_ON_LOOP + 1))
    assert model.groups == [MAX_ON_LOOP, MAX_ON_LOOP, 1]


async def test_the_loop_is_free_while_many_are_computed(batcher: Batcher, model: PersistenceForecaster) -> None:
    release = threading.Event()

    def wait_in_company(queries: Sequence[ForecastQuery]) -> None:
        if len(queries) > 1:
            assert release.wait(10)

    model.before = wait_in_company
    many = asyncio.create_task(batcher.forecast_many(model, [query(last) for last in range(100)]))
    assert (await batcher.forecast(model, query(7))).point == 7  # answered before them
    assert not many.done()
    release.set()
    assert [answer.point for answer in await many if isinstance(answer, Forecast)] == list(range(100))


async def test_queries_beyond_those_that_may_wait_are_refused_and_a_caller_leaves_room_for_other_batches(
    model: PersistenceForecaster,
) -> None:
    batcher = Batcher(Metrics(), max_waiting=8)
    calls = (batcher.forecast(model, query(last)) for last in range(9))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Forecast] * 8 + [Overloaded]
    with pytest.raises(Overloaded):
        await batcher.forecast_many(model, [query(1)] * 9)
    begun, release = held(model)

    async def ask(caller: str, number: int) -> int:
        return len(await batcher.forecast_many(model, [query(1.0)] * number, caller))

    first = [asyncio.create_task(ask("one", number)) for number in (3, 1)]
    await asyncio.to_thread(begun.wait, 10)
    with pytest.raises(CallerLimit, match="4 games of batches at a time"):
        await ask("one", 1)
    other = asyncio.create_task(ask("other", 4))
    await asyncio.sleep(0)
    release.set()
    assert [await each for each in (*first, other)] == [3, 1, 4]
    assert await ask("one", 4) == 4
    await batcher.close()
