"""Start of the process of a fork server. Imports nothing slow: the command starts it before its own imports.

The imports of the supervisor and those of the fork server, of which each takes a good part of the time until the server
serves, then run at the same time.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

VARIABLES: Final = {
    # A process with threads cannot be forked safely. OpenBLAS would start one for each core as it is loaded, and the
    # models' matrices are too small for more than one.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # By default each thread gets its own arena of malloc, and memory that it frees stays there. A worker's threads take
    # turns: more arenas save no time, and cost tens of MiB.
    "MALLOC_ARENA_MAX": "2",
}
"""Environment variables of workers and the fork server, in addition to those of the supervisor."""


class ForkServerProcess(NamedTuple):
    """A started process of a fork server, which does its imports and then waits for its start message.

    Attributes:
        pid: its process id; it leads a process group.
        control: the socket to it. It ends when the socket is closed.
    """

    pid: int
    control: socket.socket


def launch(environment: Mapping[str, str]) -> ForkServerProcess:
    """Start the process of a fork server.

    Args:
        environment: environment variables of the process and of all workers that it forks.

    Raises:
        OSError: if no process can be started.
    """
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        # -P: never import modules from the working directory
        command = (sys.executable, "-P", "-m", "dejavu_server.fork_server", str(os.getpid()))
        stdin = (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)
        try:
            pid = os.posix_spawn(sys.executable, command, environment, file_actions=[stdin], setpgroup=0)
        except OSError:
            control.close()
            raise
    return ForkServerProcess(pid, control)
