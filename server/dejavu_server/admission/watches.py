"""The limits of health watches and of reflection: streams that last, and take memory of the worker for each.

At the limit, a new stream ends the oldest stream of the caller that has the most.
A caller (token or address) that has the most itself gets no further stream, so it cannot displace those of others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from dejavu_common.slots import NoSlotError, StreamSlots
from dejavu_models.errors import DejavuError
from dejavu_server.admission.refusals import CallerLimit, WatchLimit

MAX_WATCHES: Final = 4096
"""Default maximum number of watches of a worker."""

MAX_REFLECTIONS: Final = 64
"""Maximum number of reflection streams of a worker. A tool has one for a second; with answers that are never read, each
takes up to 350 KiB."""


class Watches:
    """Counts the streams of a kind of a worker.

    Args:
        most: maximum number of streams.
        end: ends the task of a stream with an error.
        error: type of that error.
        name: name of the streams in it.
    """

    def __init__(
        self,
        most: int,
        end: Callable[[asyncio.Task[object], DejavuError], None],
        error: type[CallerLimit] = WatchLimit,
        name: str = "watches",
    ) -> None:
        self._most = most
        self._end = end
        self._error = error
        self._name = name
        self._slots = StreamSlots(most)

    @contextmanager
    def counted(self, caller: str) -> Iterator[None]:
        """Count the stream of the current task while the block runs.

        Args:
            caller: its token or address.

        Raises:
            CallerLimit: if there are too many streams, and no other caller has more of them.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a watch must run in its own task")
        error = self._error("streams", f"{self._most} {self._name} of all callers, of which it has most")
        with ExitStack() as slot:
            try:
                slot.enter_context(self._slots.held(caller, lambda: self._end(task, error)))
            except NoSlotError:
                raise error from None
            yield
