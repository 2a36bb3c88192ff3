"""Tasks of an event loop: background tasks, repeated ones, and work on many rows that yields to other calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Generic, NoReturn, TypeVar

YIELD_SECONDS: Final = 0.0007
"""Seconds of work before yielding; a concurrent call waits for several times as long."""

YIELD_TURNS: Final = 8
"""Number of turns of the event loop to yield for, about as many as a call takes. An empty turn takes a microsecond."""

_CANCEL_AGAIN_SECONDS: Final = 0.5

_aside: Final = ThreadPoolExecutor(1, thread_name_prefix="give-way")

_T = TypeVar("_T")


class BackgroundTask:
    """A background task of its owner; at most one at a time.

    Attributes:
        is_started: whether it was started and not ended.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    @property
    def is_started(self) -> bool:
        """See above."""
        return self._task is not None

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start the task under a name, which debugging output shows."""
        self._task = asyncio.create_task(work, name=name)

    async def end(self) -> None:
        """Cancel the task and wait for its end. Safe to call more than once.

        The cancellation is repeated: up to Python 3.11, `asyncio.wait_for` loses a cancellation that arrives just as
        the awaited operation ends, and redis-py uses it for each command that it sends.
        """
        while self._task is not None:
            self._task.cancel()
            done, _ = await asyncio.wait([self._task], timeout=_CANCEL_AGAIN_SECONDS)
            if done:
                self._task = None


async def repeat(
    seconds: float, work: Callable[[], Awaitable[None]], on_failure: Callable[[], None], *, at_once: bool = False
) -> NoReturn:
    """Repeat work until it is cancelled. Work that raises is repeated as usual.

    Args:
        seconds: pause before each repetition.
        work: the work.
        on_failure: called inside the handler of an exception of the work, to log it.
        at_once: whether to do it first without a pause.
    """
    if not at_once:
        await asyncio.sleep(seconds)
    while True:
        try:
            await work()
        except Exception:
            on_failure()
        await asyncio.sleep(seconds)


class SharedWork(Generic[_T]):
    """Work of one event loop that all who ask for it at the same time await together; it goes on if they give up."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[_T]] = {}

    async def run(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Return the result of work, or of that which runs with the same key; if it raises, so does each call."""
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = asyncio.create_task(work(), name="shared-work")
            running.add_done_callback(lambda _: self._running.pop(key))
            running.add_done_callback(retrieve)
        return await asyncio.shield(running)


def retrieve(done: asyncio.Future[Any]) -> None:
    """Retrieve the exception of a done future or task, if any; asyncio logs exceptions that are never retrieved."""
    if not done.cancelled():
        done.exception()


async def give_way() -> None:
    """Yield the processor to the other threads of the process, and then to the other tasks of the event loop.

    gRPC reads calls on threads of its own. On a busy processor, yielding to tasks is not enough: the loop never waits,
    and the kernel may leave these threads waiting for five milliseconds. So the loop waits for a thread that does
    nothing. sched_yield takes less time, but gives another busy process a whole time slice, during which no call is
    answered.
    """
    await asyncio.get_running_loop().run_in_executor(_aside, _do_nothing)
    for _ in range(YIELD_TURNS):
        await asyncio.sleep(0)


class Turns:
    """Yields to other calls whenever the work of one call has taken long enough.

    Use one object for all steps of the work: with an object for each of many short steps, no step would ever yield.

    Args:
        seconds: time to work before yielding.
    """

    def __init__(self, seconds: float = YIELD_SECONDS) -> None:
        self._seconds = seconds
        self._began = time.perf_counter()

    def others_had_theirs(self) -> None:
        """Restart the count, because the work has waited for a thread, and other calls had their turn meanwhile."""
        self._began = time.perf_counter()

    async def give_way(self) -> None:
        """Give way if the work has taken long enough."""
        if time.perf_counter() - self._began > self._seconds:
            await give_way()
            self._began = time.perf_counter()

    async def map(self, work: Callable[..., _T], *columns: Sequence[Any]) -> list[_T]:
        """Map `work` over rows, and give way between rows whenever it is time.

        Args:
            work: work on each row.
            columns: its arguments.
        """
        results = []
        for values in zip(*columns, strict=True):
            if time.perf_counter() - self._began > self._seconds:  # like `give_way`, without a coroutine per row
                await give_way()
                self._began = time.perf_counter()
            results.append(work(*values))
        return results


def _do_nothing() -> None:
    pass
