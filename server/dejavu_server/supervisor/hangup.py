"""Distinguishes the two meanings of SIGHUP: reload, or the controlling terminal was closed.

A server in the foreground ends with its terminal, as any program does; it would otherwise keep running unseen and hold
its port. A server under nohup keeps running.
"""

from __future__ import annotations

import os
import signal


class ControllingTerminal:
    """The terminal that this process was started from, if any. Create it before installing a SIGHUP handler."""

    def __init__(self) -> None:
        self._ends_server = signal.getsignal(signal.SIGHUP) is signal.SIG_DFL and _has_terminal()

    def is_closed(self) -> bool:
        """Returns whether the server was started from a terminal, without nohup, and that terminal is gone."""
        return self._ends_server and not _has_terminal()


def _has_terminal() -> bool:
    """Returns whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
