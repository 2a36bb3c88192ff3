"""Reads and writes checkpoint files: dejavu.v1.Checkpoint as JSON, as clients store it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from google.protobuf import json_format

from dejavu.v1 import record_pb2
from dejavu_common.clock import EPOCH
from dejavu_ledger.audit.verification import InvalidCheckpoint
from dejavu_ledger.records import Checkpoint
from dejavu_server.api.converters.record import checkpoint_message

_MAX_BYTES = 65_536  # a checkpoint has about 500


def read(path: Path) -> Checkpoint:
    """Read the checkpoint of a file; the file may also contain a GetCheckpointResponse.

    Raises:
        InvalidCheckpoint: if the file contains no checkpoint.
        OSError: if the file can't be read.
    """
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES)
    try:
        document = json.loads(content)
        if isinstance(document, dict) and set(document) == {"checkpoint"}:
            document = document["checkpoint"]
        if not isinstance(document, dict):
            raise ValueError("it is not a JSON object")
        message = json_format.ParseDict(document, record_pb2.Checkpoint())
        return from_message(message)
    except (ValueError, RecursionError, json_format.Error) as error:
        raise InvalidCheckpoint(f"{path} is not a checkpoint file of `dejavu checkpoint`: {error}") from error


def to_json(checkpoint: Checkpoint) -> str:
    """Return a checkpoint as the text of a file."""
    return json_format.MessageToJson(checkpoint_message(checkpoint)) + "\n"


def from_message(message: record_pb2.Checkpoint) -> Checkpoint:
    """Convert a checkpoint message.

    Raises:
        ValueError: if a field does not have the length or precision of the contract.
    """
    for name, bytes_ in (("hash", 32), ("public_key", 32), ("signature", 64)):
        if len(getattr(message, name)) != bytes_:
            raise ValueError(f"{name} has {len(getattr(message, name))} bytes; expected {bytes_}")
    if message.signed_time.nanos % 1000:
        raise ValueError("signed_time is finer than a microsecond")
    signed_time = EPOCH + timedelta(seconds=message.signed_time.seconds, microseconds=message.signed_time.nanos // 1000)
    return Checkpoint(
        ledger_id=message.ledger_id,
        epoch=message.epoch,
        sequence=message.sequence,
        hash=message.hash,
        signed_time=signed_time,
        public_key=message.public_key,
        signature=message.signature,
    )
