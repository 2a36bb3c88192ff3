"""The limit of the streams that cost next to nothing, which anybody may have: health watches and reflection.

Each takes some memory of the worker. At the limit the oldest stream of the caller that has most of them ends, so that a
caller, even one without a token and with many addresses, takes the places of its own streams and not those of others.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from dejavu_models.errors import DejavuError
from dejavu_server.admission.errors import CallerLimit

MAX_WATCHES: Final = 4096
"""Watches that a worker may have by default."""


class Watches:
    """Counts the watches of a worker.

    Args:
        most: how many there may be.
        end: ends the task of a watch with an error.
    """

    def __init__(self, most: int, end: Callable[[asyncio.Task[object], DejavuError], None]) -> None:
        self._most = most
        self._end = end
        self._callers: dict[asyncio.Task[object], str] = {}  # oldest first

    @contextmanager
    def counted(self, caller: str) -> Iterator[None]:
        """Count the watch of the current task while the block runs.

        Args:
            caller: its token or address.

        Raises:
            CallerLimit: if there are too many, and no other caller has more of them.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a watch must run in its own task")
        if len(self._callers) >= self._most:
            self._make_room(caller)
        self._callers[task] = caller
        try:
            yield
        finally:
            self._callers.pop(task, None)

    def _make_room(self, caller: str) -> None:
        counts = Counter(self._callers.values())
        [(largest, number)] = counts.most_common(1)
        error = CallerLimit("streams", f"{self._most} watches of all callers, of which it has most")
        if number <= counts[caller]:
            raise error
        oldest = next(task for task, each in self._callers.items() if each == largest)
        del self._callers[oldest]
        self._end(oldest, error)
