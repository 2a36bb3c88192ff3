"""Checkpoints in files: the JSON of dejavu.v1.Checkpoint, as clients keep it."""

from __future__ import annotations

import json
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from google.protobuf import json_format

from dejavu.v1 import record_pb2
from dejavu_server.api.converters.record import checkpoint_message
from dejavu_server.ledger.audit.verification import InvalidCheckpoint
from dejavu_server.records import Checkpoint

_MOST_BYTES = 65_536  # a checkpoint has about 500


def read(path: Path) -> Checkpoint:
    """The checkpoint of a file; of one that holds the answer to GetCheckpoint, that in it.

    Raises:
        InvalidCheckpoint: if it holds none.
        OSError: if it can't be read.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES)
    try:
        found = json.loads(content)
        if isinstance(found, dict) and set(found) == {"checkpoint"}:
            found = found["checkpoint"]
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
        message = json_format.ParseDict(found, record_pb2.Checkpoint())
        return from_message(message)
    except (ValueError, RecursionError, json_format.Error) as error:
        raise InvalidCheckpoint(f"{path} is not a checkpoint, as `dejavu checkpoint` writes it: {error}") from error


def to_json(checkpoint: Checkpoint) -> str:
    """A checkpoint as the text of a file."""
    return json_format.MessageToJson(checkpoint_message(checkpoint)) + "\n"


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint into a file, whole or not at all.

    Raises:
        OSError: if it can't be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    beside = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(to_json(checkpoint))
        beside.chmod(0o644)  # mkstemp makes files that only their owner may read
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def from_message(message: record_pb2.Checkpoint) -> Checkpoint:
    """A checkpoint of the contract.

    Raises:
        ValueError: if a field has not the length or the precision that the contract gives it.
    """
    for name, bytes_ in (("hash", 32), ("public_key", 32), ("signature", 64)):
        if len(getattr(message, name)) != bytes_:
            raise ValueError(f"{name} has {len(getattr(message, name))} bytes; expected {bytes_}")
    if message.signed_time.nanos % 1000:
        raise ValueError("signed_time is finer than a microsecond")
    signed = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        seconds=message.signed_time.seconds, microseconds=message.signed_time.nanos // 1000
    )
    return Checkpoint(
        ledger_id=message.ledger_id,
        epoch=message.epoch,
        sequence=message.sequence,
        hash=message.hash,
        signed_time=signed,
        public_key=message.public_key,
        signature=message.signature,
    )
