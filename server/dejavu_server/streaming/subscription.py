"""What waits for one subscriber."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import NamedTuple

from dejavu_models.errors import DejavuError
from dejavu_server.streaming.errors import SubscriberTooSlow


class StreamEvent(NamedTuple):
    """A forecast or an outcome as all its subscribers get it: their queues share the bytes."""

    sequence: int
    data: bytes


class Subscription:
    """What waits for one subscriber.

    Attributes:
        game_ids: the games it wants; empty: all.
        place: it has everything up to here that it wants.
    """

    def __init__(self, game_ids: frozenset[str], queue_size: int) -> None:
        self.game_ids = game_ids
        self.sequence = 0
        self._queue_size = queue_size
        self._waiting: deque[StreamEvent] = deque()
        self._ready = asyncio.Event()  # something waits, or it is over
        self._end: DejavuError | None = None

    def wants(self, game_id: str) -> bool:
        """Whether it wants a game's forecasts and outcomes."""
        return not self.game_ids or game_id in self.game_ids

    def offer(self, event: StreamEvent) -> bool:
        """Queues an event, unless the subscriber has it already; false if that is too much and ends it."""
        if event.sequence <= self.sequence:
            return True
        if len(self._waiting) >= self._queue_size:
            self.end(SubscriberTooSlow())
            return False
        self._waiting.append(event)
        self._ready.set()
        return True

    def end(self, error: DejavuError) -> None:
        """Drops what waits; the subscriber gets the error instead."""
        self._end = error
        self._waiting.clear()
        self._ready.set()

    def check(self) -> None:
        """Raises the error with which it was ended, if it was."""
        if self._end is not None:
            raise self._end

    async def next(self, seconds: float) -> StreamEvent | None:
        """The next event, or None after that many seconds without one."""
        if not self._ready.is_set():
            # An event may come in while the time-out is being delivered: what waits is decided after it.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._ready.wait()
        self.check()
        if not self._waiting:
            return None
        event = self._waiting.popleft()
        if not self._waiting:
            self._ready.clear()
        self.sequence = event.sequence
        return event
