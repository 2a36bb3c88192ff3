"""Starts the fork server before the supervisor has imported its own modules, which takes a third of a second.

Imports the standard library only. What the fork server loads depends on settings that are not known yet: it imports
first, and waits for them on its socket.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

VARIABLES: Final = {
    # A process with threads cannot be forked safely. OpenBLAS would start one for each core as it is loaded, and the
    # models' matrices are too small for more than one.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Each thread would get an arena of its own, and what it has freed stays there. A worker's threads take turns: more
    # arenas save no time, and cost tens of MiB.
    "MALLOC_ARENA_MAX": "2",
}
"""Environment variables of workers and the fork server, beside those of the supervisor."""

_OTHER_USES: Final = {"ledger", "token", "-h", "--help", "--version", "--install-completion", "--show-completion"}
"""Arguments with which the command does not serve. Where one is the value of an option, nothing starts early."""

_COMPLETION_VARIABLE: Final = "_DEJAVU_SERVER_COMPLETE"


class EarlyForkServer(NamedTuple):
    """A fork server that imports.

    Attributes:
        pid: its process id.
        control: the socket to it.
    """

    pid: int
    control: socket.socket


class _Started:
    server: EarlyForkServer | None = None


def command(supervisor: int) -> list[str]:
    """Returns the command of a fork server."""
    # -P: never import modules from the working directory
    return [sys.executable, "-P", "-m", "dejavu_server.fork_server", str(supervisor)]


def start(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Starts a fork server if these are the arguments of a server that keeps one; `take` returns it.

    It ends with this process, which may find that the arguments are wrong.

    Args:
        arguments: arguments of the command.
        environment: environment variables of this process.
    """
    if (
        "dejavu_server.supervisor.supervisor" in sys.modules  # nothing is left to import meanwhile
        or not _OTHER_USES.isdisjoint(arguments)
        or _COMPLETION_VARIABLE in environment
        or environment.get("DEJAVU_STANDBY") == "off"
    ):
        return
    try:
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except OSError:
        return  # the supervisor will say why it can start nothing
    with theirs:
        try:
            pid = os.posix_spawn(
                sys.executable,
                command(os.getpid()),
                {**environment, **VARIABLES},
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)],
                setpgroup=0,  # only the supervisor gets the terminal's Ctrl-C
            )
        except OSError:
            control.close()
            return
    control.setblocking(False)
    _Started.server = EarlyForkServer(pid, control)


def discard(server: EarlyForkServer) -> None:
    """Ends a fork server that was taken and is of no use."""
    server.control.close()
    os.kill(server.pid, signal.SIGKILL)
    os.waitpid(server.pid, 0)


def take() -> EarlyForkServer | None:
    """Returns the fork server that was started, once; whoever takes it waits for its end."""
    server, _Started.server = _Started.server, None
    return server
