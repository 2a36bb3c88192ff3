"""What a supervisor and its workers say to each other. Imports no gRPC.

The supervisor writes a WorkerOrder to a worker's standard input; the worker answers with one WorkerReport on the pipe
that the order names, and from then on only beats (see beats.py), signals and exit codes speak. Order and report are one
line of JSON each, and between releases they may gain fields that have defaults, and lose none: a rolling restart starts
new workers under an old supervisor.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import signal
from dataclasses import dataclass

from dejavu_server.settings import Settings, known_fields

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class WorkerStart:
    """What a worker is to do.

    Attributes:
        slot: which of the server's workers it is, from 0 on; one that dies is replaced in its slot.
        report_fd: file descriptor of the pipe for its report and its beats.
        make_ledger: whether to make a ledger where there is none.
    """

    settings: Settings
    slot: int
    report_fd: int
    make_ledger: bool = True

    def to_json(self) -> str:
        """As one line of JSON."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return json.dumps({**fields, "settings": json.loads(self.settings.to_json())})

    @classmethod
    def from_json(cls, text: str) -> WorkerStart:
        """The order that `to_json` wrote, in whatever release."""
        fields = known_fields(cls, json.loads(text))
        return cls(**{**fields, "settings": Settings.from_json(json.dumps(fields["settings"]))})


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What became of a worker's start.

    Attributes:
        address: where it serves; empty if it does not.
        refusal: why it does not serve; empty if it does.
        models: versions of the models that it holds, the active one first.
        ledger: whether it has the ledger open.
        beats: whether beats follow, without which it is to be taken for hung.
    """

    address: str = ""
    refusal: str = ""
    models: tuple[str, ...] = ()
    ledger: bool = False
    beats: bool = False

    def to_json(self) -> str:
        """As one line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkerStatus:
        """The report that `to_json` wrote, in whatever release."""
        fields = known_fields(cls, json.loads(text))
        return cls(**{**fields, "models": tuple(fields.get("models", ()))})


def die_with_parent(parent_pid: int) -> None:
    """Has the kernel send SIGTERM to this process when its parent dies, in whatever way.

    Without it the workers of a supervisor killed by SIGKILL would serve on, and share the port with its successor.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:  # it died before the kernel was asked
        raise SystemExit(1)
