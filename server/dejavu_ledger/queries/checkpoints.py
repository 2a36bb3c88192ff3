"""Reads the head of the chain and stores signed heads."""

from __future__ import annotations

from typing import Final

from dejavu_common.clock import microseconds
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.store import ChainHead, Identity
from dejavu_ledger.records import Checkpoint

_NEWEST: Final = "SELECT sequence, signed_us FROM checkpoints ORDER BY sequence DESC LIMIT 1"


def head(connection: Connection) -> tuple[Identity, ChainHead]:
    """Return identity and head of the ledger."""
    return store.identity(connection), store.head(connection)


def needed(connection: Connection, recent_us: tuple[int, int]) -> bool:
    """Return whether the head has no checkpoint in the ledger and the newest checkpoint is not recent.

    Args:
        connection: a read connection, or one in a transaction that holds the write lock.
        recent_us: microseconds since 1970 between which a checkpoint counts as recent.
    """
    since_us = unsigned_since_us(connection)
    return since_us is not None and not recent_us[0] < since_us < recent_us[1]


def unsigned_since_us(connection: Connection) -> int | None:
    """Return when the newest checkpoint was signed if it does not cover the head, in microseconds since 1970.

    None if it covers the head or the ledger is empty; 0 if there is no checkpoint.
    """
    signed, signed_us = sql.row(connection, _NEWEST) or (0, 0)
    return signed_us if signed < store.head(connection).sequence else None


def add(connection: Connection, signed: Checkpoint) -> None:
    """Store a checkpoint; the connection's transaction must hold the write lock."""
    row = {
        "sequence": signed.sequence,
        "hash": signed.hash,
        "epoch": signed.epoch,
        "signed_us": microseconds(signed.signed_time),
        "public_key": signed.public_key,
        "signature": signed.signature,
    }
    sql.insert(connection, "checkpoints", [row])
