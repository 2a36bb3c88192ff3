"""Slots for work that few browsers do at a time, of which no address gets all."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass


@dataclass(slots=True)
class _Own:
    slots: asyncio.Semaphore
    users: int = 0


class AddressSlots:
    """Slots that are shared by all addresses, and fewer for each; who waits is served in turn.

    Args:
        number: slots.
        per_address: slots that one address gets at most.
    """

    def __init__(self, number: int, per_address: int) -> None:
        self._all = asyncio.Semaphore(number)
        self._per_address = per_address
        self._own: dict[str, _Own] = {}

    async def acquire(self, address: str) -> None:
        """Waits for a slot, which `release` must give back; not if the wait is cancelled."""
        own = self._own.setdefault(address, _Own(asyncio.Semaphore(self._per_address)))
        own.users += 1
        async with AsyncExitStack() as undo:
            undo.callback(self._leave, address, own)
            await undo.enter_async_context(own.slots)
            await self._all.acquire()
            undo.pop_all()

    def release(self, address: str) -> None:
        """Gives a slot back."""
        own = self._own[address]
        self._all.release()
        own.slots.release()
        self._leave(address, own)

    def _leave(self, address: str, own: _Own) -> None:
        own.users -= 1
        if not own.users:
            del self._own[address]
