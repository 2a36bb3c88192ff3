"""Open files of this process: their number, and the limit on it."""

from __future__ import annotations

import contextlib
import os
import resource


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one; return the limit.

    The usual soft limit of 1,024 is there for programs that use select(2), which can't handle more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # the hard limit is above the kernel's current maximum
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return limit()


def limit() -> int:
    """Return the soft limit of open files."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def count() -> int:
    """Return the number of open files of this process."""
    # Since Linux 6.2, the size of this folder is the number of open files; before, it is 0.
    return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))  # noqa: PTH116, PTH208 - every second
