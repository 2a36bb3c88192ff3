"""The limit of health watches and reflection: streams that cost next to nothing and are open to anybody.

Each takes some memory of the worker. At the limit, a new stream ends the oldest stream of the caller that has the most.
A caller (token or address) that has the most itself gets no further stream, so it cannot displace those of others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from dejavu_common.stream_slots import NoSlotError, StreamSlots
from dejavu_models.errors import DejavuError
from dejavu_server.admission.errors import WatchLimit

MAX_WATCHES: Final = 4096
"""Default maximum number of watches of a worker."""


class Watches:
    """Counts the watches of a worker.

    Args:
        most: maximum number of watches.
        end: ends the task of a watch with an error.
    """

    def __init__(self, most: int, end: Callable[[asyncio.Task[object], DejavuError], None]) -> None:
        self._most = most
        self._end = end
        self._slots = StreamSlots(most)

    @contextmanager
    def counted(self, caller: str) -> Iterator[None]:
        """Count the watch of the current task while the block runs.

        Args:
            caller: its token or address.

        Raises:
            WatchLimit: if there are too many watches, and no other caller has more of them.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a watch must run in its own task")
        error = WatchLimit("streams", f"{self._most} watches of all callers, of which it has most")
        with ExitStack() as slot:
            try:
                slot.enter_context(self._slots.held(caller, lambda: self._end(task, error)))
            except NoSlotError:
                raise error from None
            yield
