"""Entry point of a fork server: `python -m dejavu_server.fork_server SUPERVISOR_PID`, started by the supervisor.

Imports the modules of a worker, loads and warms up the bundles, then forks a worker for each request on the socket that
is its standard input (see supervisor/protocol.py). Imports and bundles are loaded once for all workers; their memory is
shared until a process writes to it.

It forks twice, and the intermediate process ends at once: the worker then becomes a child of the supervisor, which is a
subreaper, and outlives the fork server. Only a process with one thread can fork safely, and gRPC must not have started.
So the fork server neither logs, nor opens a ledger, nor creates metrics: these belong to one process, the worker.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dejavu_common.processes import raise_file_limit, replace_in_command_line, thread_count
from dejavu_server import worker_main

if TYPE_CHECKING:
    from dejavu_server.supervisor.protocol import ForkReply

_MAX_FILES = 16
"""Maximum number of descriptors in a request; a later release may send more than this release uses."""


def main() -> None:
    """Run a fork server until the supervisor ends or closes the socket; in each process that it forks, run a worker."""
    supervisor = int(sys.argv[1])
    worker_main.prepare(supervisor)
    raise_file_limit()  # the supervisor, which raises its own, may not have got that far
    control = socket.socket(fileno=os.dup(0))
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a descriptor
        os.dup2(nothing.fileno(), 0)
    try:
        worker_main.import_modules()
    except ModuleNotFoundError:
        sys.exit(1)  # the supervisor, or the worker that it starts instead, reports which module is missing
    from dejavu_server.observability import metrics  # noqa: PLC0415 - imported by import_modules
    from dejavu_server.supervisor.protocol import MAX_MESSAGE, ForkReply, ForkServerStart  # noqa: PLC0415
    from dejavu_server.worker.models import PreloadedModels  # noqa: PLC0415

    message = control.recv(MAX_MESSAGE)
    if not message:  # the supervisor has ended, or does not need this process
        return
    start = ForkServerStart.from_json(message.decode())
    metrics.use_folder(start.folder)
    models = PreloadedModels.load(start.settings)
    # Otherwise garbage collection in a worker would write to every object of the shared memory. There is little garbage
    # yet, and collecting it would take longer than a fork.
    gc.freeze()
    refusal = _obstacle()
    with contextlib.suppress(ConnectionError):  # the supervisor has gone: the socket has ended, too
        control.send(ForkReply(refusal=refusal).to_json().encode())
    if refusal:
        sys.exit(1)
    _serve(control)
    # From here on, this is a worker.
    replace_in_command_line(b"dejavu_server.fork_server", b"dejavu_server.worker_main")
    sys.exit(worker_main.run(supervisor, models))


def _obstacle() -> str:
    """Return why this process must not fork; an empty string if it can."""
    threads = thread_count()
    return "" if threads == 1 else f"an import has started a thread: the fork server has {threads} threads"


def _serve(control: socket.socket) -> None:
    """Answer requests. Returns only in forked processes; exits when the supervisor has closed the socket."""
    from dejavu_server.supervisor.protocol import MAX_MESSAGE  # noqa: PLC0415 - imported by import_modules

    while True:
        try:
            request, files, _, _ = socket.recv_fds(control, MAX_MESSAGE, _MAX_FILES)
        except ConnectionError:
            request, files = b"", []
        if not request:
            sys.exit(0)
        reply = _fork(files)
        if reply is None:
            control.close()
            return
        for file in files:
            os.close(file)
        with contextlib.suppress(ConnectionError):
            control.send(reply.to_json().encode())


def _fork(files: Sequence[int]) -> ForkReply | None:
    """Fork a process for a request; return the reply to it, or None in the new process."""
    from dejavu_server.supervisor.protocol import ForkReply  # noqa: PLC0415 - imported by import_modules

    if refusal := _obstacle() or ("" if files else "the request has no descriptors"):
        return ForkReply(refusal=refusal)
    told, tells = os.pipe()
    try:
        between = os.fork()
    except OSError as error:
        os.close(told)
        os.close(tells)
        return ForkReply(refusal=f"cannot fork: {error.strerror}")
    if between == 0:
        try:
            pid = os.fork()
        except OSError:
            os._exit(1)
        if pid:
            os.write(tells, b"%d" % pid)
            os._exit(0)
        for file in (told, tells):
            os.close(file)
        os.dup2(files[0], 0)
        os.close(files[0])
        return None
    os.close(tells)
    with open(told, "rb") as pipe:  # noqa: PTH123 - a descriptor
        pid = int(pipe.read(20) or 0)
    # Once the process in between has ended, the supervisor is the parent of the new process.
    os.waitpid(between, 0)
    return ForkReply(pid=pid, files=tuple(files)) if pid else ForkReply(refusal="cannot fork a second time")


if __name__ == "__main__":
    main()
