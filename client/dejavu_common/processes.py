"""Processes that must not outlive the process that started them."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int, number: signal.Signals) -> None:
    """Makes the kernel send a signal to this process when its parent dies for any reason, SIGKILL included.

    Args:
        parent_pid: process id of the parent, as the parent passed it on.
        number: the signal.

    Raises:
        OSError: if the kernel refuses.
        SystemExit: if the parent has died already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, number) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:  # the parent died before the prctl call
        raise SystemExit(1)
