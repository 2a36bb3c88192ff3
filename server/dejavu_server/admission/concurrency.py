"""A limit on calls in progress.

The limit is on calls in progress, not on their rate: by Little's law it bounds their duration on any machine without
tuning. Short bursts may exceed it. As in CoDel, the age of a queue counts, not its existence (Nichols and Jacobson,
"Controlling Queue Delay", ACM Queue 10(5), 2012; for servers: Maurer, "Fail at Scale", ACM Queue 13(8), 2015).
"""

from __future__ import annotations

from collections import Counter

BURST_SECONDS = 0.1
"""Time for which the calls in progress may exceed the limit."""

CALM_SECONDS = 1.0
"""Time below the limit before the next burst."""

FEW_SHARE = 16
"""Divisor of a limit: callers with fewer calls in progress than the quotient (at least 1) may use the reserved
places."""


class ConcurrencyLimit:
    """Limits the calls in progress of one kind.

    Args:
        limit: calls in progress, at least 1.
        burst: calls in progress for BURST_SECONDS after the limit is reached, if it was not reached in the CALM_SECONDS
            before; at least `limit`.
        reserved: places of `limit` for callers with few calls in progress (see FEW_SHARE); below `limit`. Others may
            use them in a burst only.

    Attributes:
        in_progress: number of calls in progress, 0 to `burst`.

    Raises:
        ValueError: if a limit is out of its range.
    """

    def __init__(self, limit: int, burst: int, reserved: int = 0) -> None:
        if not 0 <= reserved < limit <= burst:
            expected = "expected 0 <= reserved < limit <= burst"
            raise ValueError(f"limit={limit}, burst={burst} and reserved={reserved} do not limit anything; {expected}")
        self._limit = limit
        self._few = max(1, limit // FEW_SHARE)
        self._unreserved = limit - reserved
        self._callers = Counter[str]() if reserved else None  # only a reserve depends on them
        self._burst = burst
        self._last_full = float("-inf")
        self._burst_ends = float("-inf")
        self.in_progress = 0

    def acquire(self, now: float, caller: str = "") -> bool:
        """Count a call in, unless it exceeds the limit.

        Args:
            now: the time in seconds; must not decrease.
            caller: its caller.

        Returns:
            Whether it was counted; if so, `release` must follow.
        """
        callers = self._callers
        if self.in_progress >= self._unreserved and (
            self.in_progress >= self._limit or self.count(caller) >= self._few
        ):
            if now - self._last_full > CALM_SECONDS:
                self._burst_ends = now + BURST_SECONDS
            self._last_full = now
            may_burst = self._limit < self._burst and now < self._burst_ends
            if not may_burst or self.in_progress >= self._burst:
                return False
        self.in_progress += 1
        if callers is not None:
            callers[caller] += 1
        return True

    def count(self, caller: str) -> int:
        """Return the number of calls of a caller in progress; 0 for all if no places are reserved."""
        return 0 if self._callers is None else self._callers[caller]

    def release(self, caller: str = "") -> None:
        """Count a call of a caller out.

        Raises:
            RuntimeError: if none is in progress.
        """
        if not self.in_progress:
            raise RuntimeError("released more often than acquired")
        self.in_progress -= 1
        if self._callers is not None:
            self._callers[caller] -= 1
            if not self._callers[caller]:
                del self._callers[caller]
