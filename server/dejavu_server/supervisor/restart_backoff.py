"""Delays between the restarts of a process that keeps dying."""

from __future__ import annotations

from dejavu_common.clock import Backoff

STEADY_SECONDS = 5.0
"""A process that ran at least this long is restarted at once; each one that died sooner increases the delay."""

FIRST_RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 30.0


class RestartBackoff:
    """Restart delays of one process and its successors: 0 first, then 0.5 s, doubling up to 30 s."""

    def __init__(self) -> None:
        self._backoff = Backoff(FIRST_RESTART_SECONDS, LONGEST_RESTART_SECONDS)
        self._failed = False

    def after(self, lived: float) -> float:
        """Return the seconds to wait before the next start.

        Args:
            lived: seconds that the last process ran; 0 if it could not be started.
        """
        if lived >= STEADY_SECONDS or not self._failed:
            self._backoff.reset()
            self._failed = True
            return 0.0
        return self._backoff.next()
