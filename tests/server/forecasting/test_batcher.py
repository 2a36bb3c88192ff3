from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest
from tests.support.fakes.forecasters import PersistenceForecaster

from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.types import Forecast
from dejavu_server.forecasting.batcher import CHUNK, MAX_ON_LOOP, MAX_WAITING, QUIET_TURNS, Batcher
from dejavu_server.limits import CallerLimit, Overloaded
from dejavu_server.observability.metrics import Metrics

POISON = -77.0


def query(last: float) -> ForecastQuery:
    return ForecastQuery(ScorePattern((*[0.0] * 17, last)))


def refuse_poison(queries: Sequence[ForecastQuery]) -> None:
    if any(each.pattern.last == POISON for each in queries):
        raise ZeroDivisionError("poison")


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
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def max_waiting() -> int:
    """The maximum number of waiting queries; tests set their own by parametrize."""
    return MAX_WAITING


@pytest.fixture
async def batcher(metrics: Metrics, max_waiting: int) -> AsyncIterator[Batcher]:
    made = Batcher(metrics, max_waiting=max_waiting)
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
    model.before = refuse_poison
    answers = await asyncio.gather(
        *(batcher.forecast(model, query(last)) for last in (1, POISON, 3)), return_exceptions=True
    )
    assert [getattr(answer, "point", None) for answer in answers] == [1, None, 3]
    assert isinstance(answers[1], ZeroDivisionError)


async def test_nothing_is_computed_for_callers_that_went(batcher: Batcher, model: PersistenceForecaster) -> None:
    staying = asyncio.create_task(batcher.forecast(model, query(1)))
    going = asyncio.create_task(batcher.forecast(model, query(2)))
    asyncio.get_running_loop().call_soon(going.cancel)
    assert (await staying).point == 1
    assert model.groups == [1]
    assert going.cancelled()


async def test_work_of_gone_callers_is_dropped(
    batcher: Batcher, metrics: Metrics, model: PersistenceForecaster
) -> None:
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
    stages = ("queue", "thread", "computed")
    dropped = [metrics.registry.get_sample_value("dejavu_work_dropped_total", {"stage": each}) for each in stages]
    assert dropped == [0, 17, 0]


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


@pytest.mark.parametrize("max_waiting", [2])
async def test_queries_beyond_those_that_may_wait_are_refused(batcher: Batcher, model: PersistenceForecaster) -> None:
    answers = await asyncio.gather(*(batcher.forecast(model, query(last)) for last in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Forecast, Forecast, Overloaded]
    with pytest.raises(Overloaded):
        await batcher.forecast_many(model, [query(1)] * 3)
    assert (await batcher.forecast(model, query(1))).point == 1  # no queries wait any more


async def test_queries_are_computed_together_if_others_may_come_or_came_last(model: PersistenceForecaster) -> None:
    in_progress = 3
    batcher = Batcher(Metrics(), alone=lambda: in_progress == 1)
    await batcher.forecast(model, query(1))
    await asyncio.gather(*(batcher.forecast(model, query(last)) for last in range(3)))
    in_progress = 1
    await asyncio.gather(*(batcher.forecast(model, query(last)) for last in range(2)))
    assert model.groups == [1, 3, 2]
    await batcher.close()


@pytest.mark.parametrize("max_waiting", [8])
async def test_a_limited_caller_leaves_room_for_other_batches(batcher: Batcher, model: PersistenceForecaster) -> None:
    begun, release = held(model)

    async def ask(caller: str, number: int) -> int:
        return len(await batcher.forecast_many(model, [query(1.0)] * number, caller))

    first = [asyncio.create_task(ask("one", number)) for number in (3, 1)]
    await asyncio.to_thread(begun.wait, 10)
    with pytest.raises(CallerLimit, match="4 games of batches at a time"):
        await asyncio.create_task(ask("one", 1))
    other = asyncio.create_task(ask("other", 4))
    await asyncio.sleep(0)
    release.set()
    assert [await each for each in (*first, other)] == [3, 1, 4]
    assert await asyncio.create_task(ask("one", 4)) == 4
