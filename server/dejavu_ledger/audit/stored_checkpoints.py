"""Verifies the checkpoints in the ledger itself: their signatures first, their hashes once the chain is verified."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from dejavu_common.clock import from_microseconds
from dejavu_ledger.audit import checkpoints
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.store import Identity
from dejavu_ledger.errors import LedgerCorrupt
from dejavu_ledger.queries.verification import raw_rows
from dejavu_ledger.queries.verification.raw_rows import Raw
from dejavu_ledger.records import Checkpoint


def read(connection: Connection, identity: Identity, public_keys: Collection[bytes]) -> Iterator[Checkpoint]:
    """Yield the checkpoints in order of sequence, each validly signed.

    Args:
        connection: a read connection.
        identity: identity of the ledger.
        public_keys: the only keys that may have signed them, 32 bytes each; empty: any.

    Raises:
        LedgerCorrupt: at the first that was altered, or is signed with another key.
    """
    for row in _rows(connection):
        checkpoint = _checkpoint(row, identity)
        if not checkpoints.is_signed(checkpoint):
            raise LedgerCorrupt(
                f"the ledger's checkpoint at {checkpoint.sequence} was altered: its signature is not valid"
            )
        if public_keys and checkpoint.public_key not in public_keys:
            raise LedgerCorrupt(
                f"the ledger's checkpoint at {checkpoint.sequence} is signed with another key: "
                f"{checkpoint.public_key.hex()}"
            )
        yield checkpoint


def check_hashes(connection: Connection, last: int) -> None:
    """Check that the entries of the checkpoints up to the sequence `last` exist, and have the hashes that were signed.

    Raises:
        LedgerCorrupt: if an entry of a checkpoint is missing or has another hash.
    """
    for row in _rows(connection):
        sequence = row["checkpoint_sequence"]
        if sequence > last:
            return  # written meanwhile
        if row["entry_hash"] is None:
            raise LedgerCorrupt(f"entries were removed: the ledger's own checkpoint is at {sequence}")
        if row["entry_hash"] != row["checkpoint_hash"]:
            raise LedgerCorrupt(f"history was rewritten: the ledger's checkpoint at {sequence} has another hash")


def is_hex(value: object, digits: int) -> bool:
    """Return whether a stored value is text of exactly `digits` lower-case hexadecimal digits."""
    return isinstance(value, str) and re.fullmatch(rf"[0-9a-f]{{{digits}}}", value) is not None


def _rows(connection: Connection) -> Iterator[Raw]:
    sequence = -(2**63)
    while page := raw_rows.checkpoints_after(connection, sequence):
        yield from page
        sequence = page[-1]["checkpoint_sequence"]


def _checkpoint(row: Raw, identity: Identity) -> Checkpoint:
    values: dict[str, Any] = {name.removeprefix("checkpoint_"): value for name, value in row.items()}
    sequence = values["sequence"]
    try:
        if not (
            isinstance(values["signed_us"], int)
            and is_hex(values["epoch"], 16)
            and all(isinstance(values[name], bytes) for name in ("hash", "public_key", "signature"))
        ):
            raise ValueError("a value has the wrong type")
        return Checkpoint(
            ledger_id=identity.ledger_id,
            epoch=values["epoch"],
            sequence=sequence,
            hash=values["hash"],
            signed_time=from_microseconds(values["signed_us"]),
            public_key=values["public_key"],
            signature=values["signature"],
        )
    except (ValueError, OverflowError) as error:
        raise LedgerCorrupt(f"the ledger's checkpoint at {sequence} was altered: {error}") from error
