"""Kills the processes that a test process started once it has ended, even by SIGKILL or a crash.

Linux only: processes are found by a mark in their environment in /proc, where forks have that of their parent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_MARK = "DEJAVU_STARTED_BY"


def end_with_this_process() -> subprocess.Popen[bytes]:
    """Mark all processes that this one starts from now on, and have them killed once it has ended.

    Returns:
        The process that kills them, once its standard input closes at the end of this process.
    """
    environment = {name: value for name, value in os.environ.items() if name != _MARK}  # an outer run must not kill it
    os.environ[_MARK] = str(os.getpid())
    return subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, f"{_MARK}={os.getpid()}"],
        stdin=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # Ctrl-C must reach only the tests, which end their processes in order
    )


def _kill_marked(mark: bytes) -> bool:
    """Kill all marked processes; return whether there were any, as they may have started others meanwhile."""
    found = False
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            # The tracker of joblib's files ends with its parent, which would complain if it ended before.
            tracks = b"resource_tracker" in path.with_name("cmdline").read_bytes()
            if not tracks and mark in path.read_bytes().split(b"\0"):
                os.kill(int(path.parent.name), signal.SIGKILL)
                found = True
    return found


if __name__ == "__main__":
    sys.stdin.read()
    while _kill_marked(os.fsencode(sys.argv[1])):
        time.sleep(0.05)
