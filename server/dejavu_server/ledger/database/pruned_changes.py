"""Changes of models whose entries were removed: their canonical forms, kept with the other summaries of a ledger.

The signed statement of the removal covers them (see `queries.pruned`).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, select

from dejavu_models.registry.stages import ModelChange
from dejavu_server.ledger.database.compressed import decompress
from dejavu_server.ledger.database.schema import snapshots
from dejavu_server.ledger.entries.codec import text_of
from dejavu_server.ledger.entries.model_changes import parse_change
from dejavu_server.ledger.errors import LedgerCorrupt

PART: Final = "pruned-models"
"""`part` of the snapshot that holds them, if any were removed; its sequence is the last one to remove."""


def read(connection: Connection, after: int = 0) -> list[ModelChange]:
    """Return the changes of models that were, or are being, removed, in order; none if all removals are up to `after`.

    Raises:
        LedgerCorrupt: if they cannot be read.
    """
    try:
        return [parse_change(text) for text in read_texts(connection, after)]
    except ValueError as error:
        raise LedgerCorrupt("the ledger is damaged: a pruned change of models cannot be read") from error


def read_texts(connection: Connection, after: int = 0) -> list[str]:
    """Return the canonical forms of the changes that `read` returns.

    Raises:
        LedgerCorrupt: if they cannot be read.
    """
    state = connection.execute(_STATE, {"after": after}).scalar_one_or_none()
    if state is None:
        return []
    try:
        return [text_of(each) for each in json.loads(decompress(state, "pruned changes of models"))]
    except (ValueError, TypeError) as error:
        raise LedgerCorrupt("the ledger is damaged: the snapshot of pruned changes of models cannot be read") from error


def encode(changes: Sequence[str]) -> bytes:
    """Return canonical forms as they are stored."""
    return zlib.compress(text(changes), 9)


def text(changes: Sequence[str]) -> bytes:
    """Return canonical forms as the digest of removed entries contains them."""
    return json.dumps(list(changes), separators=(",", ":"), ensure_ascii=False).encode()


_STATE = select(snapshots.c.state).where(snapshots.c.part == PART, snapshots.c.sequence > bindparam("after"))
