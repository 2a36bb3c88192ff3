"""A slot for one read at a time, for which callers wait in turn: who asks for much waits longer, and others do not.

Source of the order: fair queueing without weights (Nagle, RFC 970), with reads for packets and callers for hosts.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from dejavu_server.admission.errors import Overloaded


class FairQueue:
    """A slot, and the reads that wait for it; must be used from one event loop only.

    Args:
        max_waiting: how many reads may wait. The newest of the caller that has most of them makes room for one of
            another caller.
    """

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._taken = False
        self._waiting = 0
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # who is next comes first

    async def acquire(self, caller: str) -> None:
        """Wait for the slot, which `release` gives back.

        Args:
            caller: who asks; empty if not limited.

        Raises:
            Overloaded: if too many reads wait, and no other caller has more of them; also while it waits, if another
                caller that has fewer needs its place.
        """
        if not self._taken:
            self._taken = True
            return
        if self._waiting >= self._max_waiting:
            self._make_room(caller)
        turn = asyncio.get_running_loop().create_future()
        self._lines.setdefault(caller, deque()).append(turn)
        self._waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._remove(caller, turn)
            elif turn.exception() is None:  # it had the slot already
                self.release()
            raise

    def release(self) -> None:
        """Give the slot to the next caller's read that has waited longest."""
        while self._lines:
            caller, line = next(iter(self._lines.items()))
            turn = line[0]
            self._remove(caller, turn)
            if caller in self._lines:
                self._lines.move_to_end(caller)
            if not turn.done():  # else it was cancelled just now
                turn.set_result(None)
                return
        self._taken = False

    def _make_room(self, caller: str) -> None:
        largest = max(self._lines, key=lambda each: len(self._lines[each]))
        error = Overloaded(f"{self._max_waiting} other reads of this size wait already; retry later, or ask for less")
        if len(self._lines[largest]) <= len(self._lines.get(caller, ())):
            raise error
        newest = self._lines[largest][-1]
        self._remove(largest, newest)
        if not newest.done():
            newest.set_exception(error)

    def _remove(self, caller: str, turn: asyncio.Future[None]) -> None:
        line = self._lines.get(caller, deque())
        if turn in line:
            line.remove(turn)
            self._waiting -= 1
            if not line:
                del self._lines[caller]
