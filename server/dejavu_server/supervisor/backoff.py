"""How long to wait before a process that keeps dying is started again."""

from __future__ import annotations

STEADY_SECONDS = 5.0
"""A process that lived this long is replaced at once; after one that died sooner the wait is longer each time."""

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0


class Backoff:
    """The waits of one process and its successors: none at first, then half a second, doubled each time."""

    def __init__(self) -> None:
        self._next = 0.0

    def after(self, lived: float) -> float:
        """Seconds to wait, given how many seconds the last one lived; 0 for one that could not be started."""
        if lived >= STEADY_SECONDS:
            self._next = 0.0
        wait = self._next
        self._next = min(max(2 * wait, FIRST_SECONDS), LONGEST_SECONDS)
        return wait
