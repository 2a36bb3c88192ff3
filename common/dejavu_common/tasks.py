"""Tasks of an event loop that run until they are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, NoReturn

_CANCEL_AGAIN_SECONDS: Final = 0.5


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


def retrieve(done: asyncio.Future[Any]) -> None:
    """Retrieve the exception of a done future or task, if any; asyncio logs exceptions that are never retrieved."""
    if not done.cancelled():
        done.exception()
