"""Signs and checks the statement of pruned entries and their summary (see `queries.pruned`).

The ledger can no longer show that the summary followed from the removed entries; only an earlier backup can. The
signature shows that the holder of the key made the summary at the removal.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dejavu_common.clock import from_microseconds, microseconds
from dejavu_models.uncertainty.adaptive import AdaptiveState
from dejavu_server.ledger.audit import signing_key
from dejavu_server.ledger.database import pruned_changes
from dejavu_server.ledger.database.backend import Connection
from dejavu_server.ledger.database.store import Identity
from dejavu_server.ledger.errors import LedgerCorrupt
from dejavu_server.ledger.queries import learning, pruned
from dejavu_server.ledger.queries.pruned import PrunedStatement
from dejavu_server.records import Checkpoint

MIN_AGE: Final = timedelta(days=7)
"""Nothing younger is removed: games are corrected within days, and streams resume within hours."""


def sign(key: Ed25519PrivateKey, statement: PrunedStatement, ledger_id: str) -> PrunedStatement:
    """Return a statement with its signature."""
    signature = key.sign(statement.signed_text(ledger_id).encode())
    return replace(statement, public_key=signing_key.public_bytes(key), signature=signature)


def check(connection: Connection, identity: Identity, public_keys: Collection[bytes]) -> PrunedStatement | None:
    """Check the statement of pruned entries, and their summary.

    Args:
        connection: a read connection, within `store.snapshot_read`.
        identity: identity of the ledger.
        public_keys: the only keys that may have signed it, 32 bytes each; empty: any.

    Returns:
        The statement; None if nothing was pruned.

    Raises:
        LedgerCorrupt: if it was altered, is signed with another key, or is not that of this ledger.
    """
    statement = pruned.read_statement(connection)
    if statement is None:
        if identity.pruned_through:
            raise LedgerCorrupt(f"entries up to {identity.pruned_through} were removed, and no signed snapshot says so")
        if pruned.read_outcomes(connection):
            raise LedgerCorrupt("a snapshot of pruned outcomes has no statement of what was pruned")
        return None
    if statement.through < identity.pruned_through or (
        statement.through == identity.pruned_through and statement.hash != identity.pruned_hash
    ):
        raise LedgerCorrupt(
            f"entries up to {identity.pruned_through} were removed, and the snapshot of what was pruned says "
            f"{statement.through}"
        )
    try:
        Ed25519PublicKey.from_public_bytes(statement.public_key).verify(
            statement.signature, statement.signed_text(identity.ledger_id).encode()
        )
    except (InvalidSignature, ValueError) as error:
        raise LedgerCorrupt("the snapshot of what was pruned was altered: its signature is not valid") from error
    if public_keys and statement.public_key not in public_keys:
        raise LedgerCorrupt(f"the snapshot of what was pruned is signed with another key: {statement.public_key.hex()}")
    stored = learning.read_snapshot(connection, learning.INTERVALS, statement.intervals + 1)
    state = stored[1] if statement.intervals and stored is not None and stored[0] == statement.intervals else b""
    removed = pruned.read_outcomes(connection), pruned_changes.read_texts(connection)
    if pruned.digest(state, *removed) != statement.digest:
        raise LedgerCorrupt("the snapshots that stand for what was pruned were altered")
    return statement


def check_cut(statement: PrunedStatement, own: Sequence[Checkpoint], kept: Checkpoint | None) -> None:
    """Check that a statement, whose signature is valid, ends at a checkpoint that was signed long before it.

    Args:
        statement: the statement.
        own: the checkpoints in the ledger.
        kept: a checkpoint that was stored elsewhere; its key must have signed the statement, too. None if there is no
            such checkpoint, or if the permitted keys are known.

    Raises:
        LedgerCorrupt: if there is no such checkpoint, or it contradicts the statement's times or key.
    """
    cut = next((each for each in own if (each.sequence, each.hash) == (statement.through, statement.hash)), None)
    removed = f"entries up to {statement.through} were removed"
    if cut is None:
        raise LedgerCorrupt(f"{removed}, and the ledger has no checkpoint of the last of them")
    before, pruned_time = from_microseconds(statement.before_us), from_microseconds(statement.pruned_us)
    if statement.before_us != microseconds(cut.signed_time):
        raise LedgerCorrupt(
            f"{removed}, recorded before {before:%Y-%m-%d %H:%M} by the statement, and before "
            f"{cut.signed_time:%Y-%m-%d %H:%M} by the checkpoint there"
        )
    if pruned_time - before < MIN_AGE:
        raise LedgerCorrupt(
            f"{removed} on {pruned_time:%Y-%m-%d}, less than {MIN_AGE.days} days after the last of them"
        )
    keys = {each.public_key for each in own if each.sequence >= cut.sequence} if kept is None else {kept.public_key}
    if statement.public_key not in keys:
        raise LedgerCorrupt(
            f"{removed} by a statement with another key than the checkpoint's: {statement.public_key.hex()}; "
            "if the key was replaced, --public-key names both"
        )


def read_state(state: bytes) -> AdaptiveState:
    """Return the state of the intervals in the snapshot of pruned entries.

    Raises:
        LedgerCorrupt: if it cannot be read.
    """
    try:
        return AdaptiveState.from_bytes(state)
    except ValueError as error:
        raise LedgerCorrupt("the snapshot that stands for pruned outcomes cannot be read") from error
