"""Yields to other calls during work on many rows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

SECONDS: Final = 0.0007
"""Seconds of work before yielding; a concurrent call waits for several times as long."""

TURNS: Final = 8
"""Number of turns of the event loop to yield for, about as many as a call takes. An empty turn takes a microsecond."""

_T = TypeVar("_T")

_aside: Final = ThreadPoolExecutor(1, thread_name_prefix="give-way")


async def give_way() -> None:
    """Yield the processor to the other threads of the process, and then to the other tasks of the event loop.

    gRPC reads calls on threads of its own. On a busy processor, yielding to tasks is not enough: the loop never waits,
    and the kernel may leave these threads waiting for five milliseconds. So the loop waits for a thread that does
    nothing. sched_yield takes less time, but gives another busy process a whole time slice, during which no call is
    answered.
    """
    await asyncio.get_running_loop().run_in_executor(_aside, _do_nothing)
    for _ in range(TURNS):
        await asyncio.sleep(0)


class Turns:
    """Yields to other calls whenever the work of one call has taken long enough.

    Use one object for all steps of the work: with an object for each of many short steps, no step would ever yield.

    Args:
        seconds: time to work before yielding.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
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
