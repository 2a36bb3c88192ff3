"""The limit of refused calls whose statuses are being sent: a peer that does not read them keeps them in memory.

Each takes some 30 KiB in gRPC's core. A peer that reads has its status within milliseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

STATUS_SECONDS: Final = 2.0
"""Time for which a status is kept for a peer that does not read it; the call then ends without one."""

MAX_STATUSES: Final = 1024
"""Maximum number of statuses being sent at a time; further calls end without one."""

MAX_STATUSES_OF_ADDRESS: Final = 256


class PendingStatuses:
    """Counts the statuses that are being sent.

    Args:
        most: maximum number of statuses being sent.
        most_of_address: maximum number of them to one address.
    """

    def __init__(self, most: int = MAX_STATUSES, most_of_address: int = MAX_STATUSES_OF_ADDRESS) -> None:
        self._most = most
        self._most_of_address = most_of_address
        self._addresses = Counter[str]()
        self._all = 0

    @contextmanager
    def counted(self, address: str) -> Iterator[bool]:
        """Count a status to an address while the block sends it; the context's value says whether it may be sent."""
        fits = self._all < self._most and self._addresses[address] < self._most_of_address
        self._all += 1
        self._addresses[address] += 1
        try:
            yield fits
        finally:
            self._all -= 1
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]
