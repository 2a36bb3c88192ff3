"""Starts `dejavu`. Loading its modules takes a good half second, in which Ctrl-C ends it as quietly as later.

This module itself loads next to nothing, and the program by its name: this package imports none.
"""

from __future__ import annotations

import importlib
import os
import signal

_INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """Runs `dejavu`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if the parent has it ignored
        # Raise nothing while modules load: extension modules turn exceptions into others.
        signal.signal(signal.SIGINT, _exit)
    importlib.import_module("dejavu_client.cli.main").main()


def interruptible() -> None:
    """Lets Ctrl-C raise KeyboardInterrupt again. A command calls it when its modules are loaded, before it does things.

    Does nothing if the program was started otherwise, or handles the signal itself by now.
    """
    if signal.getsignal(signal.SIGINT) is _exit:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit(_number: int, _frame: object) -> None:
    os._exit(_INTERRUPTED)
