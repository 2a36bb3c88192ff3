"""Slots for which callers wait in turn: a caller with many requests waits longer, and the others do not.

The order is that of fair queueing without weights (Nagle, RFC 970), with work instead of packets and callers instead of
hosts.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from dejavu_common.tasks import retrieve

_T = TypeVar("_T")


class TooManyWaitError(Exception):
    """The maximum number of requests already waits for a slot."""


class FairSlots:
    """Slots with a fair order of waiting callers; must be used from one event loop only.

    Args:
        number: number of slots.
        per_caller: maximum number of slots that one caller gets.
        max_waiting: maximum number of waiting requests. Beyond it, the newest waiting request of the caller with the
            most gives way to a request of another caller.
    """

    def __init__(self, number: int, *, per_caller: int = sys.maxsize, max_waiting: int = sys.maxsize) -> None:
        self._free = number
        self._per_caller = per_caller
        self._max_waiting = max_waiting
        self._held = Counter[str]()
        self._waiting = 0
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # the next caller comes first

    async def acquire(self, caller: str) -> None:
        """Wait for a slot, which the caller must `release` unless the wait was cancelled.

        Raises:
            TooManyWaitError: if too many requests wait, and no other caller has more of them; also during the wait, if
                another caller that has fewer needs the place.
        """
        if self._free and self._held[caller] < self._per_caller:  # if slots are free, those who wait have their maximum
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
            elif turn.exception() is None:  # the slot was already assigned
                self.release(caller)
            raise

    def release(self, caller: str) -> None:
        """Give a slot of a caller to the caller whose turn it is."""
        self._free += 1
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        while self._free and (following := self._next()) is not None:
            turn = self._lines[following][0]
            self._remove(following, turn)
            if following in self._lines:
                self._lines.move_to_end(following)
            if not turn.done():  # otherwise it was cancelled just now
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

    async def run(self, caller: str, work: Callable[[], Awaitable[_T]]) -> _T:
        """Wait for a slot, and hold it until the work ends. Cancelling the caller does not end it: a thread continues.

        Raises:
            TooManyWaitError: as `acquire`.
            Exception: whatever the work raised.
        """
        await self.acquire(caller)
        working = asyncio.ensure_future(work())
        working.add_done_callback(lambda _: self.release(caller))
        working.add_done_callback(retrieve)  # also if the caller was cancelled
        return await asyncio.shield(working)

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
