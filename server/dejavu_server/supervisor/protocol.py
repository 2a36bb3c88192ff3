"""Protocol between the supervisor and its workers. Imports no gRPC.

The supervisor writes a WorkerStart to a worker's standard input. The worker replies with one WorkerStatus on the pipe
that WorkerStart names. After that they communicate only by heartbeats (see heartbeat.py), signals and exit codes.
WorkerStart and WorkerStatus are one line of JSON each. A new release may add fields that have defaults, but must not
remove any, because a rolling restart runs new workers under an old supervisor.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from dejavu_server.settings import Settings, known_fields


@dataclass(frozen=True, slots=True)
class WorkerStart:
    """Start message to a worker.

    Attributes:
        settings: settings of the server.
        slot: index of the worker in the server, from 0; a worker that dies is replaced in its slot.
        report_fd: file descriptor of the pipe for its status and heartbeats.
        make_ledger: whether to create a ledger if none exists.
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
        """Parses a WorkerStart that `to_json` of any release wrote."""
        fields = known_fields(cls, json.loads(text))
        return cls(**{**fields, "settings": Settings.from_json(json.dumps(fields["settings"]))})


@dataclass(frozen=True, slots=True)
class WorkerStatus:
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

    def to_json(self) -> str:
        """As one line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkerStatus:
        """Parses a WorkerStatus that `to_json` of any release wrote."""
        fields = known_fields(cls, json.loads(text))
        return cls(**{**fields, "models": tuple(fields.get("models", ()))})
