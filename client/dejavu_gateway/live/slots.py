"""Slots that browsers share, for live streams and for expensive work. No address gets all of them."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator

from dejavu_common.fair_slots import FairSlots


class NoSlotError(Exception):
    """An address has its share of the live streams, or of the requests in line, already."""


class StreamSlots:
    """Slots for live streams, held for as long as they last.

    Once all are held, a new stream gets the slot of the oldest one of the address that holds most. An address that
    holds as many as any other gets no more, so that nothing is gained by opening streams again and again.

    Args:
        number: slots.
        per_address: slots that one address gets at most.
    """

    def __init__(self, number: int, per_address: int) -> None:
        self._number = number
        self._per_address = per_address
        self._held: dict[object, tuple[str, Callable[[], None]]] = {}  # oldest first
        self._by_address = Counter[str]()

    @contextlib.contextmanager
    def held(self, address: str, evict: Callable[[], None]) -> Iterator[None]:
        """Hold a slot until the end of the block, or until `evict` is called, which is to end the stream.

        Raises:
            NoSlotError: if the address has its share.
        """
        if self._by_address[address] >= self._per_address:
            raise NoSlotError(f"your address has {self._per_address} live streams already")
        if len(self._held) >= self._number:
            self._make_room(address)
        slot = object()
        self._held[slot] = address, evict
        self._by_address[address] += 1
        try:
            yield
        finally:
            self._leave(slot)

    def _make_room(self, address: str) -> None:
        most = max(self._by_address.values(), default=0)
        if self._by_address[address] >= most:
            raise NoSlotError("all live streams are in use, and your address has its share of them")
        slot, evict = next((slot, evict) for slot, (of, evict) in self._held.items() if self._by_address[of] == most)
        self._leave(slot)
        evict()

    def _leave(self, slot: object) -> None:
        if (held := self._held.pop(slot, None)) is not None:
            address, _ = held
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


class AddressSlots(FairSlots):
    """Slots that are shared by all addresses, with a limit for each; addresses wait in turn.

    Args:
        number: slots.
        per_address: slots that one address gets at most.
        line_of_address: maximum of requests of one address in line (see `in_line`), including those with a slot.
        max_waiting: most requests that wait for a slot; the newest of the address that has most makes room for one of
            another address.
    """

    def __init__(
        self, number: int, per_address: int, *, line_of_address: int = sys.maxsize, max_waiting: int = sys.maxsize
    ) -> None:
        super().__init__(number, per_caller=per_address, max_waiting=max_waiting)
        self._line = Counter[str]()
        self._most_of_address = line_of_address

    @contextlib.contextmanager
    def in_line(self, address: str) -> Iterator[None]:
        """Count a request from before its body is read until it is answered.

        Raises:
            NoSlotError: if too many of the address are in line.
        """
        if self._line[address] >= self._most_of_address:
            raise NoSlotError(f"your address has {self._most_of_address} requests in line already")
        self._line[address] += 1
        try:
            yield
        finally:
            self._line[address] -= 1
            if not self._line[address]:
                del self._line[address]
