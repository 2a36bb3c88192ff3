"""Verifies a ledger: the hash chain from first to last entry, and all tables against it.

Detects:

- a value altered in any row, and a row removed, inserted or moved: by the chain; by deriving the rows of forecasts,
  outcomes, markets and settlements, and the snapshots of the online state, from the entries again; by signatures;
- entries cut off at the end: by a later checkpoint, in the ledger or stored elsewhere;
- a chain rebuilt with valid hashes, whatever its content: by a checkpoint stored elsewhere. The ledger's own
  checkpoints detect it too, unless it was rebuilt with the signing key; with another key, `public_keys` detects it.

Does not detect: a removed row of `checkpoints` or `snapshots`, because nothing is derived from it; a history rebuilt
before the stored checkpoint was made; entries cut off after that checkpoint and covered by no other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from dejavu_common.clock import from_microseconds
from dejavu_models.uncertainty.adaptive import AdaptiveState
from dejavu_server.ledger.audit import checkpoints
from dejavu_server.ledger.audit.chain import ChainVerifier
from dejavu_server.ledger.database import schema, store
from dejavu_server.ledger.database.backend import Connection
from dejavu_server.ledger.database.sqlite import read_only_ledger
from dejavu_server.ledger.database.store import Identity
from dejavu_server.ledger.entries import codec
from dejavu_server.ledger.errors import LedgerCorrupt, LedgerError
from dejavu_server.ledger.queries import learning, raw_rows
from dejavu_server.ledger.queries.raw_rows import Raw
from dejavu_server.records import Checkpoint


class InvalidCheckpoint(LedgerError):
    """The checkpoint to compare with is not valid: its signature is wrong, or of another key."""

    reason = "INVALID_CHECKPOINT"


@dataclass(frozen=True, slots=True)
class Verification:
    """Contents of a ledger that passed verification.

    Attributes:
        ledger_id: the ledger's id.
        entries: number of entries verified.
        sequence: sequence of the last entry.
        hash: hash of the last entry, in hexadecimal. Stored elsewhere, it proves later that nothing before it changed.
        pruned_through: entries up to this sequence were removed; 0: none.
        forecasts, outcomes, markets: number of entries of each kind.
        settlements: number of forecasts with an outcome.
        checkpoints: number of signed heads in the ledger.
        snapshots: number of snapshots of the online state.
        keys: public keys of the checkpoints in the ledger, in hexadecimal.
    """

    ledger_id: str
    entries: int
    sequence: int
    hash: str
    pruned_through: int = 0
    forecasts: int = 0
    outcomes: int = 0
    markets: int = 0
    settlements: int = 0
    checkpoints: int = 0
    snapshots: int = 0
    keys: tuple[str, ...] = ()


def verify(url: str, checkpoint: Checkpoint | None = None, *, public_keys: Collection[bytes] = ()) -> Verification:
    """Verifies every row of a ledger, and that it continues from an earlier checkpoint; see the module's docstring.

    May run while the ledger is written to; it then verifies what is there when it reads it.

    Args:
        url: the ledger.
        checkpoint: a checkpoint that was stored elsewhere.
        public_keys: the only keys that checkpoints may be signed with, 32 bytes each; empty: any key.

    Raises:
        LedgerCorrupt: at the first row that was altered; the message names it and the reason.
        InvalidCheckpoint: if `checkpoint` itself is not validly signed.
        InvalidLedgerUrl, LedgerSchemaError, LedgerUnavailable: if it cannot be read as a ledger of this release.
    """
    if checkpoint is not None:
        if not checkpoints.is_signed(checkpoint):
            raise InvalidCheckpoint("the checkpoint's signature is not valid: the checkpoint was altered")
        if public_keys and checkpoint.public_key not in public_keys:
            raise InvalidCheckpoint(f"the checkpoint is signed with another key: {checkpoint.public_key.hex()}")
    with read_only_ledger(url) as backend, backend.read() as connection:
        backend.check_integrity(connection, thorough=True)
        return _verify(connection, checkpoint, public_keys)


def _verify(connection: Connection, checkpoint: Checkpoint | None, public_keys: Collection[bytes]) -> Verification:
    if raw_rows.schema_versions(connection) != [schema.REVISION]:
        raise LedgerCorrupt("the ledger's schema version was changed")
    identity = _identity(connection)
    verifier = ChainVerifier(connection, identity)
    verifier.run()
    if checkpoint is not None:
        _check_external(connection, identity, verifier, checkpoint)
    keys = list(_check_checkpoints(connection, identity, public_keys))
    return Verification(
        ledger_id=identity.ledger_id,
        entries=verifier.counts.total(),
        sequence=verifier.sequence,
        hash=verifier.hash.hex(),
        pruned_through=identity.pruned_through,
        forecasts=verifier.counts[codec.FORECAST],
        outcomes=verifier.counts[codec.OUTCOME],
        markets=verifier.counts[codec.MARKET],
        settlements=verifier.settled,
        checkpoints=len(keys),
        snapshots=_check_snapshots(connection),
        keys=tuple(sorted({key.hex() for key in keys})),
    )


def _identity(connection: Connection) -> Identity:
    stored = raw_rows.identities(connection)
    if len(stored) != 1:
        raise LedgerCorrupt("the ledger is damaged: its identity row is missing")
    ledger_id, epoch, through, hash_ = (
        stored[0][f"ledger_{name}"] for name in ("ledger_id", "epoch", "pruned_through", "pruned_hash")
    )
    valid = (
        _is_hex(ledger_id, 32)
        and _is_hex(epoch, 16)
        and isinstance(through, int)
        and through >= 0
        and isinstance(hash_, bytes)
        and (through > 0 or hash_ == codec.genesis_hash(ledger_id))
    )
    if not valid:
        raise LedgerCorrupt("the ledger's identity was changed")
    remaining = raw_rows.any_entry_up_to(connection, through)
    if remaining is not None:
        raise LedgerCorrupt(f"entry {remaining}: it is still there, although entries were pruned beyond it")
    return Identity(ledger_id, epoch, through, hash_)


def _is_hex(value: object, digits: int) -> bool:
    return isinstance(value, str) and re.fullmatch(rf"[0-9a-f]{{{digits}}}", value) is not None


def _check_external(
    connection: Connection, identity: Identity, verifier: ChainVerifier, checkpoint: Checkpoint
) -> None:
    if checkpoint.ledger_id != identity.ledger_id:
        raise LedgerCorrupt(
            f"the checkpoint is of another ledger: this ledger's id is {identity.ledger_id}, not {checkpoint.ledger_id}"
        )
    if checkpoint.epoch != identity.epoch:
        raise LedgerCorrupt(
            f"the ledger was restored or altered since the checkpoint: its epoch is {identity.epoch}, "
            f"not {checkpoint.epoch}"
        )
    if checkpoint.sequence > verifier.sequence:
        raise LedgerCorrupt(
            f"entries were removed: the ledger ends at {verifier.sequence}, the checkpoint is at {checkpoint.sequence}"
        )
    if identity.pruned_through:
        raise LedgerCorrupt(
            f"entries up to {identity.pruned_through} were removed: the checkpoint can't be verified against them"
        )
    # Sequence 0 stands for the hash that the first entry is chained to.
    signed_hash = raw_rows.hash_at(connection, checkpoint.sequence) if checkpoint.sequence else identity.pruned_hash
    if signed_hash != checkpoint.hash:
        raise LedgerCorrupt(
            f"history was rewritten: the entry at {checkpoint.sequence}, or one before it, differs from the one that "
            "was signed"
        )


def _check_checkpoints(connection: Connection, identity: Identity, public_keys: Collection[bytes]) -> Iterator[bytes]:
    """Checks the checkpoints in the ledger; yields the public key of each."""
    sequence = -(2**63)
    while page := raw_rows.checkpoints_after(connection, sequence):
        for row in page:
            checkpoint = _read_checkpoint(row, identity)
            sequence = checkpoint.sequence
            if not checkpoints.is_signed(checkpoint):
                raise LedgerCorrupt(f"the ledger's checkpoint at {sequence} was altered: its signature is not valid")
            if public_keys and checkpoint.public_key not in public_keys:
                raise LedgerCorrupt(
                    f"the ledger's checkpoint at {sequence} is signed with another key: {checkpoint.public_key.hex()}"
                )
            hash_ = identity.pruned_hash if sequence == identity.pruned_through else row["entry_hash"]
            if hash_ is None and sequence > identity.pruned_through:
                raise LedgerCorrupt(f"entries were removed: the ledger's own checkpoint is at {sequence}")
            if hash_ is not None and hash_ != checkpoint.hash:
                raise LedgerCorrupt(f"history was rewritten: the ledger's checkpoint at {sequence} has another hash")
            yield checkpoint.public_key


def _read_checkpoint(row: Raw, identity: Identity) -> Checkpoint:
    values: dict[str, Any] = {name.removeprefix("checkpoint_"): value for name, value in row.items()}
    sequence = values["sequence"]
    try:
        if not (
            isinstance(values["signed_us"], int)
            and _is_hex(values["epoch"], 16)
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


def _check_snapshots(connection: Connection) -> int:
    """Computes the online state from the outcomes, compares each snapshot with it, and returns their number."""
    with store.snapshot_read(connection):
        remaining: dict[int, bytes] = {}
        for row in raw_rows.all_snapshots(connection):
            if row["snapshot_part"] != learning.INTERVALS or not isinstance(row["snapshot_sequence"], int):
                raise LedgerCorrupt(f"a snapshot has an unknown part: {row['snapshot_part']!r}")
            remaining[row["snapshot_sequence"]] = row["snapshot_state"]
        if not remaining:
            return 0
        count, last = len(remaining), max(remaining)
        state = AdaptiveState()
        for game in learning.settled_games_after(connection, 0):
            if game.sequence > last:
                break
            state = state.after(game.observations)
            if game.sequence in remaining and remaining.pop(game.sequence) != state.to_bytes():
                raise LedgerCorrupt(f"the snapshot at {game.sequence} does not match the outcomes up to it")
        if remaining:
            raise LedgerCorrupt(f"the snapshot at {min(remaining)} does not belong to an outcome")
        return count
