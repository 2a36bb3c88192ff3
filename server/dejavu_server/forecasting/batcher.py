"""Queries that wait together are computed together, without waiting for company.

gRPC hands over the calls that have arrived one by one, a turn or more of the event loop apart. So a group is computed
as soon as a few turns in a row have brought nobody new. No clock is involved: turns without work take microseconds, and
a query that is alone is not held up. Under load, what would be computed one by one is computed in one pass.

What would keep the loop from other calls for long is computed on a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from dejavu_models.errors import DejavuError
from dejavu_models.forecaster import Forecaster
from dejavu_models.types import Forecast, ForecastQuery

CHUNK = 128
"""Most queries computed in one pass: some ten milliseconds of work. An evening's games at both horizons are fewer."""

MOST_ON_THE_LOOP = 16
"""Most queries computed on the loop itself; a larger group is worth the detour over a thread."""

QUIET_TURNS = 8
"""How many turns of the loop in a row must bring nobody new before a group is computed.

With fewer, calls that arrived together are mostly computed one by one; with more, nothing is gained.
"""

MAX_WAITING = 8192
"""Most queries that may wait at a time; more are refused, rather than kept waiting past their deadlines."""

Waiting = tuple[ForecastQuery, asyncio.Future[Forecast]]

_log = structlog.get_logger(__name__)


class Overloaded(DejavuError):
    """More queries wait than the worker is willing to hold."""

    reason = "OVERLOADED"


class Batcher:
    """Computes forecasts for the calls of one event loop; only to be used from that loop.

    Args:
        max_waiting: most queries that may wait for their answer at a time.
        observe: is told the size of each group computed in one pass.
    """

    def __init__(self, *, max_waiting: int = MAX_WAITING, observe: Callable[[int], None] = lambda _: None) -> None:
        self._max_waiting = max_waiting
        self._observe = observe
        self._unanswered = 0
        self._groups: dict[Forecaster, list[Waiting]] = {}
        self._enqueued_count = 0
        self._quiet_turns = 0
        self._looking = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batcher")
        self._tasks = set[asyncio.Task[None]]()

    async def forecast(self, forecaster: Forecaster, query: ForecastQuery) -> Forecast:
        """Answers one query.

        Raises:
            Unsupported: if the model can't answer it.
            Overloaded: if too many wait already.
        """
        forecaster.check(query)
        self._admit(1)
        try:
            return await self._enqueue(forecaster, query)
        finally:
            self._unanswered -= 1

    async def forecast_many(
        self, forecaster: Forecaster, queries: Sequence[ForecastQuery]
    ) -> list[Forecast | Exception]:
        """Answers many queries of one call, in order, on the thread; each fails for itself.

        The queries must be such as the forecaster's `check` accepts.

        Raises:
            Overloaded: if too many wait already.
        """
        self._admit(len(queries))
        loop = asyncio.get_running_loop()
        answers: list[Forecast | Exception] = []
        try:
            for start in range(0, len(queries), CHUNK):
                chunk = queries[start : start + CHUNK]
                self._observe(len(chunk))
                answers += await loop.run_in_executor(self._thread, compute, forecaster, chunk)
        finally:
            self._unanswered -= len(queries)
        return answers

    async def close(self) -> None:
        """Answers what waits, and ends the thread."""
        self._flush()
        await asyncio.gather(*self._tasks)
        await asyncio.to_thread(self._thread.shutdown)

    def _admit(self, queries: int) -> None:
        if self._unanswered + queries > self._max_waiting:
            raise Overloaded(f"{self._unanswered} queries wait already; at most {self._max_waiting} may")
        self._unanswered += queries

    def _enqueue(self, forecaster: Forecaster, query: ForecastQuery) -> asyncio.Future[Forecast]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Forecast] = loop.create_future()
        self._groups.setdefault(forecaster, []).append((query, answer))
        self._enqueued_count += 1
        self._quiet_turns = 0
        if not self._looking:
            self._looking = True
            loop.call_soon(self._turn)
        if self._enqueued_count == CHUNK:
            self._flush()
        return answer

    def _turn(self) -> None:
        """Looks around once a turn of the loop, until nobody has come for long enough."""
        if self._enqueued_count and self._quiet_turns < QUIET_TURNS:
            self._quiet_turns += 1
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._looking = False
            self._flush()

    def _flush(self) -> None:
        """Computes what was put down."""
        groups, self._groups, self._enqueued_count = self._groups, {}, 0
        for forecaster, group in groups.items():
            # Those whose callers have gone need no answer.
            wanted = [(query, answer) for query, answer in group if not answer.done()]
            if len(wanted) > MOST_ON_THE_LOOP:
                task = asyncio.get_running_loop().create_task(self._answer_on_thread(forecaster, wanted))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            elif wanted:
                self._observe(len(wanted))
                resolve(wanted, compute(forecaster, [query for query, _ in wanted]))

    async def _answer_on_thread(self, forecaster: Forecaster, group: Sequence[Waiting]) -> None:
        self._observe(len(group))
        queries = [query for query, _ in group]
        loop = asyncio.get_running_loop()
        resolve(group, await loop.run_in_executor(self._thread, compute, forecaster, queries))


def compute(forecaster: Forecaster, queries: Sequence[ForecastQuery]) -> list[Forecast | Exception]:
    """Answers queries in one pass; if that fails, one by one, so that only those fail that are to blame."""
    try:
        return list(forecaster.forecast_many(queries))
    except Exception as error:
        if len(queries) == 1:
            return [error]
        _log.warning("group_failed", size=len(queries), effect="answered one by one", exc_info=True)
        return [answer for query in queries for answer in compute(forecaster, [query])]


def resolve(group: Sequence[Waiting], answers: Sequence[Forecast | Exception]) -> None:
    """Hands the answers to those who still wait."""
    for (_, waiting), answer in zip(group, answers, strict=True):
        if waiting.done():
            continue
        if isinstance(answer, Exception):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)
