"""Reads the head of the chain and stores signed heads."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from dejavu_common.clock import microseconds
from dejavu_ledger.database import store
from dejavu_ledger.database.schema import checkpoints
from dejavu_ledger.database.store import ChainHead, Identity
from dejavu_ledger.records import Checkpoint


def head(connection: Connection) -> tuple[Identity, ChainHead]:
    """Return identity and head of the ledger."""
    return store.identity(connection), store.head(connection)


def needed(connection: Connection, recent_us: tuple[int, int]) -> bool:
    """Return whether the head has no checkpoint in the ledger and the newest checkpoint is not recent.

    Args:
        connection: a read connection, or one in a transaction that holds the write lock.
        recent_us: microseconds since 1970 between which a checkpoint counts as recent.
    """
    newest = connection.execute(_NEWEST).one_or_none()
    if newest is None:
        return store.head(connection).sequence > 0
    return newest.sequence < store.head(connection).sequence and not recent_us[0] < newest.signed_us < recent_us[1]


def unsigned_since_us(connection: Connection) -> int | None:
    """Return when the newest checkpoint was signed if it does not cover the head, in microseconds since 1970.

    None if it covers the head or the ledger is empty; 0 if there is no checkpoint.
    """
    newest, head = connection.execute(_NEWEST).one_or_none(), store.head(connection).sequence
    if head == 0 or (newest is not None and newest.sequence >= head):
        return None
    return 0 if newest is None else int(newest.signed_us)


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
    connection.execute(_ADD, row)


_NEWEST = select(checkpoints.c.sequence, checkpoints.c.signed_us).order_by(checkpoints.c.sequence.desc()).limit(1)

_ADD = insert(checkpoints)
