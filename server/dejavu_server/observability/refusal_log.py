"""Rate-limited logging of calls that callers may not make."""

from __future__ import annotations

import time
from typing import Any, Final

from structlog.typing import FilteringBoundLogger

LINES: Final = 10
"""Number of refusals logged in LINES_SECONDS."""

LINES_SECONDS: Final = 10.0


class RefusalLog:
    """Logs calls that callers may not make: LINES in LINES_SECONDS; the next line has the number of those left out.

    Use it from one thread.

    Args:
        log: logger to write to.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._began = -LINES_SECONDS
        self._lines = self._left_out = 0

    def refused(self, **fields: Any) -> None:
        """Log a refused call with these fields, unless too many were logged just now."""
        now = time.monotonic()
        if now - self._began >= LINES_SECONDS:
            self._began, self._lines = now, 0
        if self._lines >= LINES:
            self._left_out += 1
            return
        self._lines += 1
        left_out = {"left_out": self._left_out} if self._left_out else {}
        self._left_out = 0
        self._log.warning("call_refused", **fields, **left_out)
