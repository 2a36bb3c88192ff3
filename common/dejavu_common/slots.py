"""Slots shared fairly by callers: those of requests, for which callers wait in turn, and those of live streams.

A caller with many requests waits longer, and the others do not: the order is that of fair queueing without weights
(Nagle, RFC 970), with work instead of packets and callers instead of hosts. If all slots of streams are taken, a new
stream evicts the oldest one of the caller that holds the most.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from dejavu_common.tasks import retrieve

_T = TypeVar("_T")


class Holdings(Counter[str]):
    """How many things each caller holds; one that holds none takes no memory."""

    def give_back(self, caller: str, number: int = 1) -> None:
        """Count things of a caller out."""
        self[caller] -= number
        if not self[caller]:
            del self[caller]

    @contextmanager
    def held(self, caller: str, number: int = 1) -> Iterator[None]:
        """Count things of a caller until the end of the block."""
        self[caller] += number
        try:
            yield
        finally:
            self.give_back(caller, number)


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
        self._held = Holdings()
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
        self._held.give_back(caller)
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


class NoSlotError(Exception):
    """The caller already has its share of the slots."""


class StreamSlots:
    """Slots for live streams, held for as long as they last.

    When all slots are held, a new stream takes the slot of the oldest stream of the caller that holds the most. A
    caller that holds as many as any other gets no further slot, so reopening streams gains nothing.

    Args:
        number: number of slots.
        per_caller: maximum number of slots that one caller gets.
    """

    def __init__(self, number: int, per_caller: int = sys.maxsize) -> None:
        self._number = number
        self._per_caller = per_caller
        self._held: dict[object, tuple[str, Callable[[], None]]] = {}  # oldest first
        self._by_caller = Holdings()

    @contextmanager
    def held(self, caller: str, evict: Callable[[], None]) -> Iterator[None]:
        """Hold a slot until the end of the block, or until `evict` is called; `evict` must end the stream.

        Raises:
            NoSlotError: if the caller already has its share.
        """
        if self._by_caller[caller] >= self._per_caller:
            raise NoSlotError(f"your address has {self._per_caller} live streams already")
        if len(self._held) >= self._number:
            self._make_room(caller)
        slot = object()
        self._held[slot] = caller, evict
        self._by_caller[caller] += 1
        try:
            yield
        finally:
            self._leave(slot)

    def _make_room(self, caller: str) -> None:
        most = max(self._by_caller.values(), default=0)
        if self._by_caller[caller] >= most:
            raise NoSlotError("all live streams are in use, and your address has its share of them")
        slot, evict = next((slot, evict) for slot, (of, evict) in self._held.items() if self._by_caller[of] == most)
        self._leave(slot)
        evict()

    def _leave(self, slot: object) -> None:
        if (held := self._held.pop(slot, None)) is not None:
            self._by_caller.give_back(held[0])
