"""Micro-batching of concurrent queries without a timer.

gRPC delivers calls one by one, one or more turns of the event loop apart. A group is computed once several turns in a
row brought no new query. No clock is involved: idle turns take microseconds, so a single query is hardly delayed. Under
load, queries that would be computed one by one are computed in one pass.

A query is computed at once, in the task of its call, if no other call is in progress and the last group was a single
query too: waiting would not help.

Large groups are computed on a thread, so that they do not block the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import structlog

from dejavu_common.activity import Activity
from dejavu_common.slots import Holdings
from dejavu_models.forecast_query import ColumnsForecast, ColumnsQuery, ForecastQuery
from dejavu_models.forecaster import Forecaster
from dejavu_models.results import Failed, Result
from dejavu_models.types import Forecast
from dejavu_server.limits import CallerLimit, Overloaded
from dejavu_server.observability.metrics import Metrics

CHUNK = 128
"""Maximum queries in one pass, a few milliseconds of work. The games of one evening at both horizons are fewer."""

COLUMNS_CHUNK = 200
"""Maximum games of a column request in one pass: two milliseconds of work that leaves the interpreter to others."""

MAX_ON_LOOP = 16
"""Maximum queries computed on the event loop; larger groups justify the overhead of a thread."""

QUIET_TURNS = 8
"""Consecutive turns of the loop without a new query before a group is computed.

With fewer, calls that arrive together are mostly computed one by one; more bring no benefit.
"""

MAX_WAITING = 16_384
"""Maximum waiting queries; further ones are rejected instead of waiting past their deadlines. Batches of a limited
caller may have half of them, enough for the largest call, 5,000 games."""

Waiting = tuple[ForecastQuery, asyncio.Future[Forecast]]

_R = TypeVar("_R")
_Q = TypeVar("_Q")
_Sized = TypeVar("_Sized", bound=Sized)

_log = structlog.get_logger(__name__)


class Batcher:
    """Computes forecasts for the calls of one event loop; must be used from that loop only.

    Args:
        metrics: count groups, their times and the queries whose callers have gone, by the place where this was found:
            "queue" or "thread" (the queries were not computed), or "computed" (they were).
        max_waiting: maximum number of unanswered queries.
        alone: returns whether the current call is the only one that may bring queries.

    Attributes:
        activity: progress of its thread.
        unanswered: number of queries that wait for their answer or are computed.
    """

    def __init__(
        self, metrics: Metrics, *, max_waiting: int = MAX_WAITING, alone: Callable[[], bool] = lambda: False
    ) -> None:
        self._metrics = metrics
        self._max_waiting = max_waiting
        self._alone = alone
        self.unanswered = 0
        self._last_group = 0
        self._of_callers = Holdings()  # queries of calls with many, by limited caller
        self._groups: dict[Forecaster, list[Waiting]] = {}
        self._enqueued_count = 0
        self._first_enqueued = 0.0
        self._quiet_turns = 0
        self._turn_scheduled = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batcher")
        self.activity = Activity("compute")
        self._tasks = set[asyncio.Task[None]]()

    async def forecast(self, forecaster: Forecaster, query: ForecastQuery) -> Forecast:
        """Answer one query, together with others that wait for the same model.

        Raises:
            Unsupported: if the model can't answer it.
            Overloaded: if too many queries wait already.
        """
        forecaster.check(query)
        self._admit(1)
        try:
            if self._last_group == 1 and not self._enqueued_count and self._alone():
                return self._compute_alone(forecaster, query)
            return await self._enqueue(forecaster, query)
        finally:
            self.unanswered -= 1

    async def forecast_many(
        self, forecaster: Forecaster, queries: Sequence[ForecastQuery], caller: str = ""
    ) -> list[Result[Forecast]]:
        """Answer many queries of one call in order, on the thread; each fails on its own.

        Args:
            forecaster: the model.
            queries: the queries, which must have passed the `check` of the forecaster.
            caller: name of the caller; empty if it is not limited.

        Raises:
            Overloaded, CallerLimit: if too many queries wait already.
        """
        # Each explanation queries the model for all earlier minutes: 128 explanations by a published model could hang a
        # worker.
        size = MAX_ON_LOOP if any(query.explain for query in queries) else CHUNK
        parts = (queries[start : start + size] for start in range(0, len(queries), size))
        found = await self._in_parts(partial(compute, forecaster), parts, len(queries), caller)
        return [answer for answers in found for answer in answers]

    async def forecast_columns(
        self, forecaster: Forecaster, query: ColumnsQuery, caller: str = ""
    ) -> list[ColumnsForecast]:
        """Answer a column request, which must have passed `check_columns`, on the thread; in parts, in order.

        All parts use the online state at the time of the call: an outcome that is learned meanwhile affects none of
        them.

        Args:
            forecaster: the model.
            query: the request.
            caller: name of the caller; empty if it is not limited.

        Raises:
            Overloaded, CallerLimit: if too many queries wait already.
        """
        work = partial(forecaster.forecast_columns, state=forecaster.active_state)
        parts = (query.rows(start, start + COLUMNS_CHUNK) for start in range(0, len(query), COLUMNS_CHUNK))
        return await self._in_parts(work, parts, len(query), caller)

    async def _in_parts(
        self, work: Callable[[_Sized], _R], parts: Iterable[_Sized], number: int, caller: str
    ) -> list[_R]:
        """Return a model's answers to the parts of one call, in order, computed on the thread.

        Args:
            work: answers a part.
            parts: the queries.
            number: number of queries, all of which count as waiting until the last is answered.
            caller: name of the caller; empty if it is not limited.

        Raises:
            Overloaded: if too many queries wait already.
            CallerLimit: if the batches of a limited caller would have more than half of the maximum.
        """
        most = self._max_waiting // 2
        if caller and self._of_callers[caller] + number > most:
            raise CallerLimit("batches", f"{most} games of batches at a time")
        self._admit(number)
        try:
            with self._of_callers.held(caller, number):
                return [await self._on_thread(work, part) for part in parts]
        finally:
            self.unanswered -= number

    async def _on_thread(self, work: Callable[[_Sized], _R], queries: _Sized) -> _R:
        """Compute queries of one call on the thread, unless its caller goes before the thread begins."""
        computing = self._thread.submit(self.activity.run, self._timed, time.perf_counter(), work, queries)
        try:
            computed = await asyncio.wrap_future(computing)
        except asyncio.CancelledError:
            self._metrics.count_dropped("thread" if computing.cancelled() else "computed", len(queries))
            raise
        self._metrics.batch_size.observe(len(queries))
        return computed

    async def forecast_aside(self, forecaster: Forecaster, queries: Sequence[ForecastQuery]) -> list[Result[Forecast]]:
        """Answer queries that no caller waits for, in order, on the thread; each fails on its own.

        They count neither as waiting queries nor in the metrics of batches. The next large group of calls waits until
        they are computed, so they should be few at a time.
        """
        computing = self._thread.submit(self.activity.run, compute, forecaster, queries)
        return await asyncio.wrap_future(computing)

    async def close(self) -> None:
        """Answer the waiting queries and stop the thread."""
        self._flush()
        await asyncio.gather(*self._tasks)
        await asyncio.to_thread(self._thread.shutdown)

    def _admit(self, queries: int) -> None:
        if self.unanswered + queries > self._max_waiting:
            raise Overloaded(f"{self.unanswered} queries are waiting; at most {self._max_waiting} may wait")
        self.unanswered += queries

    def _enqueue(self, forecaster: Forecaster, query: ForecastQuery) -> asyncio.Future[Forecast]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Forecast] = loop.create_future()
        if not self._enqueued_count:
            self._first_enqueued = time.perf_counter()
        self._groups.setdefault(forecaster, []).append((query, answer))
        self._enqueued_count += 1
        self._quiet_turns = 0
        if not self._turn_scheduled:
            self._turn_scheduled = True
            loop.call_soon(self._turn)
        if self._enqueued_count == CHUNK:
            self._flush()
        return answer

    def _compute_alone(self, forecaster: Forecaster, query: ForecastQuery) -> Forecast:
        self._metrics.batch_size.observe(1)
        [answer] = self._timed(time.perf_counter(), partial(compute, forecaster), [query])
        if isinstance(answer, Failed):
            raise answer.error
        return answer

    def _turn(self) -> None:
        """Run once per turn of the loop; flushes after QUIET_TURNS turns without a new query."""
        if self._enqueued_count and self._quiet_turns < QUIET_TURNS:
            self._quiet_turns += 1
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._turn_scheduled = False
            self._flush()

    def _flush(self) -> None:
        """Compute the enqueued groups."""
        groups, self._groups, self._enqueued_count = self._groups, {}, 0
        if groups:
            self._last_group = sum(map(len, groups.values()))
        for forecaster, group in groups.items():
            # Skip queries whose callers have cancelled.
            pending = [(query, answer) for query, answer in group if not answer.done()]
            if len(pending) > MAX_ON_LOOP:
                answering = self._answer_on_thread(forecaster, pending, self._first_enqueued)
                task = asyncio.get_running_loop().create_task(answering)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif pending:
                self._metrics.batch_size.observe(len(pending))
                queries = [query for query, _ in pending]
                resolve(pending, self._timed(self._first_enqueued, partial(compute, forecaster), queries))
            if len(pending) < len(group):
                self._metrics.count_dropped("queue", len(group) - len(pending))

    async def _answer_on_thread(self, forecaster: Forecaster, group: Sequence[Waiting], enqueued: float) -> None:
        work = partial(_compute_waiting, forecaster)
        computing = self._thread.submit(self.activity.run, self._timed, enqueued, work, group)
        computed, answers = await asyncio.wrap_future(computing)
        gone = resolve(computed, answers)
        for stage, number in (("thread", len(group) - len(computed)), ("computed", gone)):
            if number:
                self._metrics.count_dropped(stage, number)
        if computed:
            self._metrics.batch_size.observe(len(computed))

    def _timed(self, enqueued: float, work: Callable[[_Q], _R], queries: _Q) -> _R:
        """Return the result of computing a group; report its waiting and computing times."""
        began = time.perf_counter()
        self._metrics.queue_seconds.observe(began - enqueued)
        result = work(queries)
        self._metrics.compute_seconds.observe(time.perf_counter() - began)
        return result


def _compute_waiting(forecaster: Forecaster, group: Sequence[Waiting]) -> tuple[list[Waiting], list[Result[Forecast]]]:
    """Answer the queries whose callers still wait when the thread gets to them; return queries and answers."""
    waiting = [each for each in group if not each[1].done()]
    return waiting, compute(forecaster, [query for query, _ in waiting]) if waiting else []


def compute(forecaster: Forecaster, queries: Sequence[ForecastQuery]) -> list[Result[Forecast]]:
    """Answer queries in one pass; if that fails, one by one, so that only the failing queries get an error."""
    try:
        return list(forecaster.forecast_many(queries))
    except Exception as error:
        if len(queries) == 1:
            return [Failed(error)]
        _log.warning("group_failed", size=len(queries), effect="queries are answered one by one", exc_info=True)
        return [answer for query in queries for answer in compute(forecaster, [query])]


def resolve(group: Sequence[Waiting], answers: Sequence[Result[Forecast]]) -> int:
    """Set the results of the futures that are not done; return the number of the others."""
    gone = 0
    for (_, waiting), answer in zip(group, answers, strict=True):
        if waiting.done():
            gone += 1
        elif isinstance(answer, Failed):
            waiting.set_exception(answer.error)
        else:
            waiting.set_result(answer)
    return gone
