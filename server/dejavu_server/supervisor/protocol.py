"""Protocol between the supervisor, its workers and its fork server. Imports no gRPC.

The supervisor writes a WorkerStart to a worker's standard input. The worker replies with one WorkerStatus on the pipe
that WorkerStart names. After that they communicate only by heartbeats (see heartbeat.py), signals and exit codes.

The standard input of a fork server is a socket (SOCK_SEQPACKET: one message, one packet). The supervisor sends one
ForkServerStart. The fork server replies with a ForkReply as soon as it can fork. From then on, each packet
with file descriptors makes it fork a process that has the first descriptor as its standard input and waits there for a
WorkerStart; the fork server replies with another ForkReply.

Writer and reader of a message may be of different releases, because a rolling restart runs new workers and a new fork
server under an old supervisor: see ProcessMessage.
"""

from __future__ import annotations

from pydantic import Field

from dejavu_server.options import ProcessMessage
from dejavu_server.settings import Settings

MAX_MESSAGE = 1 << 20
"""Longest message to or from a fork server, in bytes."""


class WorkerStart(ProcessMessage):
    """Start message to a worker.

    Attributes:
        settings: settings of the server.
        slot: index of the worker in the server, from 0; a worker that dies is replaced in its slot.
        report_fd: file descriptor of the pipe for its status and heartbeats.
        make_ledger: whether to create a ledger if none exists.
        folder: folder of the server, with the files that its processes share.
    """

    settings: Settings
    slot: int
    report_fd: int
    make_ledger: bool
    folder: str


class WorkerStatus(ProcessMessage):
    """Result of a worker's start.

    Attributes:
        refusal: why the start failed; empty if it succeeded.
        models: versions of the loaded models, the active one first.
        versions: of dejavu-forecast, its revision, grpcio and Python, by name.
        ledger: whether the worker has the ledger open.
    """

    refusal: str = ""
    models: tuple[str, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
    ledger: bool = False


class ForkServerStart(ProcessMessage):
    """Start message to a fork server.

    Attributes:
        settings: settings of the server; the fork server loads their bundles.
        folder: folder of the server.
    """

    settings: Settings
    folder: str


class ForkReply(ProcessMessage):
    """Answer of a fork server to its start message, or to a request.

    Attributes:
        pid: process id of the process that waits for a WorkerStart; 0 if there is none.
        refusal: why it cannot fork; empty if it can.
        files: the numbers of the request's descriptors in the forked process.
    """

    pid: int = 0
    refusal: str = ""
    files: tuple[int, ...] = ()
