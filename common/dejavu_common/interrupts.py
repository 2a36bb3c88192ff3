"""Ctrl-C while a program loads its modules. Imports little, because until then Ctrl-C raises an exception."""

from __future__ import annotations

import os
import signal

_INTERRUPTED = 128 + signal.SIGINT


def exit_on_interrupt() -> None:
    """Make Ctrl-C end the program at once and without output, unless its parent ignores it.

    Ctrl-C must not raise an exception while modules load: extension modules turn exceptions into others.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _exit)


def raise_on_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again; a command calls it after its modules are loaded.

    Does nothing if `exit_on_interrupt` was not called, or if the program handles the signal itself by now.
    """
    if signal.getsignal(signal.SIGINT) is _exit:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit(_number: int, _frame: object) -> None:
    os._exit(_INTERRUPTED)
