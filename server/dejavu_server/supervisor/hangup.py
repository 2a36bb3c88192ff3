"""What SIGHUP means: a wish to reload, unless it tells that the terminal is gone from which the server was started.

Both come as the same signal. A server in the foreground has to end with its terminal, as any program does; it would
otherwise live on unseen and hold its port. One under nohup has been told not to.
"""

from __future__ import annotations

import os
import signal


class ControllingTerminal:
    """The terminal that this process was started from, if any; to be made before SIGHUP gets a handler."""

    def __init__(self) -> None:
        self._matters = signal.getsignal(signal.SIGHUP) is signal.SIG_DFL and _controls()

    def is_closed(self) -> bool:
        """Whether there was one whose end is ours too, and is no more."""
        return self._matters and not _controls()


def _controls() -> bool:
    """Whether a terminal controls this process."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
