"""Event queue of one subscriber."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, NamedTuple

from dejavu_ledger.database.store import ChainHead
from dejavu_models.errors import DejavuError
from dejavu_server.streaming.stream_errors import SubscriberTooSlow

QUEUE_SIZE: Final = 2000
"""Forecasts and outcomes that may be queued for a subscriber before it is cut off."""


class StreamEvent(NamedTuple):
    """A serialized forecast or outcome, and its position. All subscriber queues share the same bytes."""

    position: ChainHead
    data: bytes


class Subscription:
    """Bounded event queue of one subscriber.

    Attributes:
        game_ids: the games that it subscribes to; empty: all.
        caller: name by which it takes turns with other callers; empty if it is not limited.
        position: the subscriber has received all entries that it wants up to this position.
    """

    def __init__(self, game_ids: frozenset[str], caller: str = "") -> None:
        self.game_ids = game_ids
        self.caller = caller
        self.position = ChainHead(0, b"")
        self._waiting: deque[StreamEvent] = deque()
        self._waiter: asyncio.Future[None] | None = None  # of `next`, while it waits
        self._end: DejavuError | None = None

    def offer(self, event: StreamEvent) -> bool:
        """Queue an event unless the subscriber already has it. Ends the subscription, returning False, on overflow."""
        if event.position.sequence <= self.position.sequence:
            return True
        if len(self._waiting) >= QUEUE_SIZE:
            self.end(SubscriberTooSlow())
            return False
        self._waiting.append(event)
        self._wake()
        return True

    def end(self, error: DejavuError) -> None:
        """Drop the queued events; the next call raises the error instead."""
        self._end = error
        self._waiting.clear()
        self._wake()

    def check(self) -> None:
        """Raise the error that ended the subscription, if any."""
        if self._end is not None:
            raise self._end

    async def next(self, seconds: float) -> StreamEvent | None:
        """Return the next event, or None after `seconds` without one."""
        if not self._waiting and self._end is None:
            await self._wait(seconds)
        self.check()
        if not self._waiting:
            return None
        event = self._waiting.popleft()
        self.position = event.position
        return event

    async def _wait(self, seconds: float) -> None:
        """Wait for an event, the end or the timeout; an event that arrives just as the timeout expires is queued."""
        # This runs for every event and subscriber, and asyncio.timeout would take far more steps.
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
