"""Protocol between the supervisor and its workers. Imports no gRPC.

The supervisor writes a WorkerStart to a worker's standard input. The worker replies with one WorkerStatus on the pipe
that WorkerStart names. After that they communicate only by heartbeats (see heartbeat.py), signals and exit codes.
Both may be of another release than the reader, because a rolling restart runs new workers under an old supervisor: see
ProcessMessage.
"""

from __future__ import annotations

from dejavu_server.options import ProcessMessage
from dejavu_server.settings import Settings


class WorkerStart(ProcessMessage):
    """Start message to a worker.

    Attributes:
        settings: settings of the server.
        slot: index of the worker in the server, from 0; a worker that dies is replaced in its slot.
        report_fd: file descriptor of the pipe for its status and heartbeats.
        make_ledger: whether to create a ledger if none exists.
        totals_folder: folder in which the workers share what they counted; empty: they do not.
        counts_fd: file descriptor of the counts that the workers share; -1: the worker has its own.
    """

    settings: Settings
    slot: int
    report_fd: int
    make_ledger: bool = True
    totals_folder: str = ""
    counts_fd: int = -1


class WorkerStatus(ProcessMessage):
    """Result of a worker's start.

    Attributes:
        address: the address that it serves on; empty if the start failed.
        refusal: why the start failed; empty if it succeeded.
        models: versions of the loaded models, the active one first.
        ledger: whether the worker has the ledger open.
        beats: whether the worker sends heartbeats, so that missing ones mean that it hangs.
    """

    address: str = ""
    refusal: str = ""
    models: tuple[str, ...] = ()
    ledger: bool = False
    beats: bool = False
