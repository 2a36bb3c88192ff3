"""Tasks of an event loop that run until they are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class BackgroundTask:
    """A task that runs beside its owner; at most one at a time.

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
        """Starts the task, which the event loop shows under a name."""
        self._task = asyncio.create_task(work, name=name)

    async def end(self) -> None:
        """Cancels the task and waits for its end. Safe to call more than once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None


def retrieve(done: asyncio.Future[Any]) -> None:
    """Looks at how a future or task ended; asyncio logs the exceptions that remain unread."""
    if not done.cancelled():
        done.exception()
