"""A limit on calls in progress.

The limit is on calls in progress, not on their rate: by Little's law it bounds their duration on any machine without
tuning. Short bursts may exceed it. As in CoDel, the age of a queue counts, not its existence (Nichols and Jacobson,
"Controlling Queue Delay", ACM Queue 10(5), 2012; for servers: Maurer, "Fail at Scale", ACM Queue 13(8), 2015).
"""

from __future__ import annotations

BURST_SECONDS = 0.1
"""Time for which the calls in progress may exceed the limit."""

CALM_SECONDS = 1.0
"""Time below the limit before the next burst."""


class ConcurrencyLimit:
    """Limits the calls in progress of one kind.

    Args:
        limit: calls in progress, at least 1.
        burst: calls in progress for BURST_SECONDS after the limit is reached, if it was not within CALM_SECONDS before;
            at least `limit`.
        sending: further calls whose answers are being sent, at least 0.

    Attributes:
        in_progress: number of calls in progress, 0 to `burst`; those that `answer` counted as being sent are none.
        sending: number of those, 0 to the limit of them.

    Raises:
        ValueError: if a limit is out of its range.
    """

    def __init__(self, limit: int, burst: int, *, sending: int = 0) -> None:
        if not 1 <= limit <= burst:
            raise ValueError(f"limit={limit} and burst={burst} do not limit anything; expected 1 <= limit <= burst")
        if sending < 0:
            raise ValueError(f"sending={sending} is no number of calls; expected at least 0")
        self._limit = limit
        self._burst = burst
        self._most_sending = sending
        self._last_full = float("-inf")
        self._burst_ends = float("-inf")
        self.in_progress = 0
        self.sending = 0

    def acquire(self, now: float) -> bool:
        """Count a call in, unless it exceeds the limit.

        Args:
            now: the time in seconds; must not decrease.

        Returns:
            Whether it was counted; if so, `release` must follow.
        """
        if self.in_progress >= self._limit:
            if now - self._last_full > CALM_SECONDS:
                self._burst_ends = now + BURST_SECONDS
            self._last_full = now
            if self.in_progress >= self._burst or now >= self._burst_ends:
                return False
        self.in_progress += 1
        return True

    def answer(self) -> bool:
        """Count a call in progress as one whose answer is being sent, unless too many are.

        Its caller can have the answer, and call again, before the server knows that it was sent: such a call must not
        be refused because of the one before. A caller that reads no answers keeps them in memory, so their number is
        limited.

        Returns:
            Whether it was; if so, `sent` must follow instead of `release`.

        Raises:
            RuntimeError: if none is in progress.
        """
        if self.sending >= self._most_sending:
            return False
        self.release()
        self.sending += 1
        return True

    def release(self) -> None:
        """Count a call out.

        Raises:
            RuntimeError: if none is in progress.
        """
        if not self.in_progress:
            raise RuntimeError("released more often than acquired")
        self.in_progress -= 1

    def sent(self) -> None:
        """Count a call out whose answer was sent, or whose caller has gone.

        Raises:
            RuntimeError: if no answer is being sent.
        """
        if not self.sending:
            raise RuntimeError("sent more answers than there were")
        self.sending -= 1
