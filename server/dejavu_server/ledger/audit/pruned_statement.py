"""Signs and checks the statement of pruned entries and their summary (see `queries.pruned`).

The ledger can no longer show that the summary followed from the removed entries. The signature shows that the holder of
the key derived it at the removal; an earlier backup shows the rest.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dejavu_models.uncertainty.adaptive import AdaptiveState
from dejavu_server.ledger.audit import signing_key
from dejavu_server.ledger.database import pruned_changes
from dejavu_server.ledger.database.backend import Connection
from dejavu_server.ledger.database.store import Identity
from dejavu_server.ledger.errors import LedgerCorrupt
from dejavu_server.ledger.queries import learning, pruned
from dejavu_server.ledger.queries.pruned import PrunedStatement


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


def read_state(state: bytes) -> AdaptiveState:
    """Return the state of the intervals in the snapshot of pruned entries.

    Raises:
        LedgerCorrupt: if it cannot be read.
    """
    try:
        return AdaptiveState.from_bytes(state)
    except ValueError as error:
        raise LedgerCorrupt("the snapshot that stands for pruned outcomes cannot be read") from error
