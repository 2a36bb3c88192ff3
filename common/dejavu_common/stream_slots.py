"""Stream slots: when all are taken, a new stream evicts the oldest one of the caller that holds the most."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator


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
        self._by_caller = Counter[str]()

    @contextlib.contextmanager
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
            caller, _ = held
            self._by_caller[caller] -= 1
            if not self._by_caller[caller]:
                del self._by_caller[caller]
