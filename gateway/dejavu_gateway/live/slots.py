"""Slots for expensive work, which browsers share. No address gets all of them."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator

from dejavu_common.slots import FairSlots, NoSlotError


class AddressSlots(FairSlots):
    """Slots that are shared by all addresses, with a limit for each; addresses wait in turn.

    Args:
        number: number of slots.
        per_address: slots that one address gets at most.
        line_of_address: maximum of requests of one address in line (see `in_line`), including those with a slot.
        max_waiting: maximum number of requests that wait for a slot; beyond it, the newest waiting request of the
            address with the most gives way to a request of another address.
    """

    def __init__(
        self, number: int, per_address: int, *, line_of_address: int = sys.maxsize, max_waiting: int = sys.maxsize
    ) -> None:
        super().__init__(number, per_caller=per_address, max_waiting=max_waiting)
        self._line = Counter[str]()
        self._most_of_address = line_of_address

    @contextlib.contextmanager
    def in_line(self, address: str) -> Iterator[None]:
        """Count a request; enter before its body is read, and leave when it is answered.

        Raises:
            NoSlotError: if too many requests of the address are in line.
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
