"""Slots for which callers wait in turn: who asks for much waits longer, and others do not.

Source of the order: fair queueing without weights (Nagle, RFC 970), with work for packets and callers for hosts.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class TooManyWaitError(Exception):
    """As many wait for a slot as may."""


class FairSlots:
    """Slots with a fair order of waiting callers; must be used from one event loop only.

    Args:
        number: slots.
        per_caller: slots that one caller gets at most.
        max_waiting: how many may wait. The newest of the caller that has most of them makes room for one of another.
    """

    def __init__(self, number: int, *, per_caller: int = sys.maxsize, max_waiting: int = sys.maxsize) -> None:
        self._free = number
        self._per_caller = per_caller
        self._max_waiting = max_waiting
        self._held = Counter[str]()
        self._waiting = 0
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # whose turn is next comes first

    async def acquire(self, caller: str) -> None:
        """Wait for a slot, which `release` gives back; not if the wait is cancelled.

        Raises:
            TooManyWaitError: if too many wait, and no other caller has more of them; also while it waits, if another
                caller that has fewer needs its place.
        """
        if self._free and self._held[caller] < self._per_caller:  # who waits then has its share of them
            self._give(caller)
            return
        if self._waiting >= self._max_waiting:
            self._make_room(caller)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(caller, deque()).append(turn)
        self._waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._remove(caller, turn)
            elif turn.exception() is None:  # it had its slot already
                self.release(caller)
            raise

    def release(self, caller: str) -> None:
        """Give a slot of a caller to the one whose turn it is."""
        self._free += 1
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        while self._free and (following := self._next()) is not None:
            turn = self._lines[following][0]
            self._remove(following, turn)
            if following in self._lines:
                self._lines.move_to_end(following)
            if not turn.done():  # else it was cancelled just now
                self._give(following)
                turn.set_result(None)

    @asynccontextmanager
    async def held(self, caller: str) -> AsyncIterator[None]:
        """Wait for a slot, and hold it until the end of the block."""
        await self.acquire(caller)
        try:
            yield
        finally:
            self.release(caller)

    def _give(self, caller: str) -> None:
        self._free -= 1
        self._held[caller] += 1

    def _next(self) -> str | None:
        """Return the next waiting caller that may have another slot; None if there is none."""
        return next((each for each in self._lines if self._held[each] < self._per_caller), None)

    def _make_room(self, caller: str) -> None:
        largest = max(self._lines, key=lambda each: len(self._lines[each]))
        if len(self._lines[largest]) <= len(self._lines.get(caller, ())):
            raise TooManyWaitError
        newest = self._lines[largest][-1]
        self._remove(largest, newest)
        if not newest.done():
            newest.set_exception(TooManyWaitError())

    def _remove(self, caller: str, turn: asyncio.Future[None]) -> None:
        line = self._lines.get(caller, deque())
        if turn in line:
            line.remove(turn)
            self._waiting -= 1
            if not line:
                del self._lines[caller]
