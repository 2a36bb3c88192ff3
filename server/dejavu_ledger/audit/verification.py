"""Verifies a ledger: the hash chain from first to last entry, and all tables against it.

docs/verification.md lists the checks. Without an external checkpoint, a chain that was rebuilt as a whole, or cut off
at the end, passes the chain's own checks. The ledger's own checkpoints detect this only while they exist, and only if
the chain was not signed again (with another key, which `public_keys` detects). Never detected: a removed row of
`checkpoints` or `snapshots`, because nothing is derived from it; a history rebuilt before the external checkpoint was
made; entries appended after the last checkpoint that look like a server's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from dejavu_ledger.audit import checkpoints, hindsight, stored_checkpoints
from dejavu_ledger.audit.chain import ChainVerifier
from dejavu_ledger.audit.entry_times import CLOCK_TOLERANCE, SignedTimes
from dejavu_ledger.audit.scores import check_scores
from dejavu_ledger.audit.stored_checkpoints import is_hex
from dejavu_ledger.database import schema, sql, store
from dejavu_ledger.database.backend import Backend, Connection
from dejavu_ledger.database.backends import read_only_ledger
from dejavu_ledger.database.store import Identity
from dejavu_ledger.entries import codec
from dejavu_ledger.errors import LedgerCorrupt, LedgerError
from dejavu_ledger.queries import learning
from dejavu_ledger.queries.verification import raw_rows
from dejavu_ledger.records import Checkpoint
from dejavu_models.uncertainty.adaptive import AdaptiveState


class InvalidCheckpoint(LedgerError, reason="INVALID_CHECKPOINT"):
    """The checkpoint to compare with is not valid: its signature is wrong, or of another key."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Contents of a ledger that passed verification.

    Attributes:
        ledger_id: the ledger's id.
        entries: number of entries verified.
        sequence: sequence of the last entry.
        hash: hash of the last entry, in hexadecimal. Stored elsewhere, it proves later that nothing before it changed.
        forecasts, outcomes, markets, shadows, model_changes: number of entries of each kind.
        settled: number of settled forecasts.
        checkpoints: number of signed heads in the ledger.
        snapshots: number of snapshots of the online state.
        keys: public keys of the checkpoints in the ledger, in hexadecimal.
    """

    ledger_id: str
    entries: int
    sequence: int
    hash: str
    forecasts: int = 0
    outcomes: int = 0
    markets: int = 0
    shadows: int = 0
    model_changes: int = 0
    settled: int = 0
    checkpoints: int = 0
    snapshots: int = 0
    keys: tuple[str, ...] = ()


def verify(
    url: str,
    checkpoint: Checkpoint | None = None,
    *,
    public_keys: Collection[bytes] = (),
    clock_tolerance: timedelta = CLOCK_TOLERANCE,
    restored: bool = False,
) -> Verification:
    """Verify every row of a ledger, and that it continues from an earlier checkpoint; see the module's docstring.

    May run while the ledger is written to; it then verifies the state that it reads.

    Args:
        url: the ledger.
        checkpoint: a checkpoint that was stored elsewhere.
        public_keys: the only keys that checkpoints may be signed with, 32 bytes each; empty: any key.
        clock_tolerance: tolerated contradiction between the times of entries and of checkpoints.
        restored: whether to accept a checkpoint of another epoch, made before the ledger was restored from a backup;
            its hash is still compared with the entry at its sequence.

    Raises:
        LedgerCorrupt: at the first row that was altered; the message names it and the reason.
        InvalidCheckpoint: if `checkpoint` itself is not validly signed.
        InvalidLedgerUrl, LedgerSchemaError, LedgerUnavailable: if it cannot be read as a ledger of this release.
    """
    with read_only_ledger(url) as backend:
        return verify_backend(
            backend, checkpoint, public_keys=public_keys, clock_tolerance=clock_tolerance, restored=restored
        )


def verify_backend(
    backend: Backend,
    checkpoint: Checkpoint | None = None,
    *,
    public_keys: Collection[bytes] = (),
    clock_tolerance: timedelta = CLOCK_TOLERANCE,
    restored: bool = False,
) -> Verification:
    """Verify every row of a ledger that is open; see `verify`."""
    if checkpoint is not None:
        if not checkpoints.is_signed(checkpoint):
            raise InvalidCheckpoint("the checkpoint's signature is not valid: the checkpoint was altered")
        if public_keys and checkpoint.public_key not in public_keys:
            raise InvalidCheckpoint(f"the checkpoint is signed with another key: {checkpoint.public_key.hex()}")
    with backend.read() as connection:
        backend.check_integrity(connection, thorough=True)
        if checkpoint is not None:
            _check_same_ledger(_identity(connection), checkpoint, restored=restored)
        return _verify(connection, checkpoint, public_keys, clock_tolerance)


def _verify(
    connection: Connection,
    checkpoint: Checkpoint | None,
    public_keys: Collection[bytes],
    clock_tolerance: timedelta,
) -> Verification:
    if raw_rows.schema_versions(connection) != [schema.VERSION]:
        raise LedgerCorrupt("the ledger's schema version was changed")
    identity = _identity(connection)
    own = list(stored_checkpoints.read(connection, identity, public_keys))
    # A checkpoint from before a restore says nothing about the times of later entries here.
    external = [] if checkpoint is None or checkpoint.epoch != identity.epoch else [checkpoint]
    verifier = ChainVerifier(connection, identity, SignedTimes([*own, *external], clock_tolerance))
    verifier.run()
    hindsight.check(connection, verifier.games)
    check_scores(connection)
    if checkpoint is not None:
        _check_external(connection, verifier, checkpoint)
    stored_checkpoints.check_hashes(connection, max((each.sequence for each in own), default=0))
    return Verification(
        ledger_id=identity.ledger_id,
        entries=verifier.counts.total(),
        sequence=verifier.sequence,
        hash=verifier.hash.hex(),
        forecasts=verifier.counts[codec.FORECAST],
        outcomes=verifier.counts[codec.OUTCOME],
        markets=verifier.counts[codec.MARKET],
        shadows=verifier.counts[codec.SHADOW],
        model_changes=verifier.counts[codec.MODEL],
        settled=raw_rows.count_settled(connection),
        checkpoints=len(own),
        snapshots=_check_snapshots(connection),
        keys=tuple(sorted({each.public_key.hex() for each in own})),
    )


def _identity(connection: Connection) -> Identity:
    stored = raw_rows.identities(connection)
    if len(stored) != 1:
        raise LedgerCorrupt(f"the ledger is damaged: expected one identity row, found {len(stored)}")
    ledger_id, epoch = stored[0]["ledger_ledger_id"], stored[0]["ledger_epoch"]
    if not (is_hex(ledger_id, 32) and is_hex(epoch, 16)):
        raise LedgerCorrupt("the ledger's identity was changed")
    return Identity(ledger_id, epoch)


def _check_same_ledger(identity: Identity, checkpoint: Checkpoint, *, restored: bool) -> None:
    if checkpoint.ledger_id != identity.ledger_id:
        raise LedgerCorrupt(
            f"the checkpoint is of another ledger: this ledger's id is {identity.ledger_id}, not {checkpoint.ledger_id}"
        )
    if checkpoint.epoch != identity.epoch and not restored:
        raise LedgerCorrupt(
            f"the ledger was restored or altered since the checkpoint: its epoch is {identity.epoch}, "
            f"not {checkpoint.epoch} (if it was restored from a backup, --restored compares the checkpoint with the "
            "restored entries)"
        )


def _check_external(connection: Connection, verifier: ChainVerifier, checkpoint: Checkpoint) -> None:
    if checkpoint.sequence > verifier.sequence:
        raise LedgerCorrupt(
            f"entries were removed: the ledger ends at {verifier.sequence}, the checkpoint is at {checkpoint.sequence}"
        )
    start = store.start_of_chain(checkpoint.ledger_id)
    at_start = checkpoint.sequence == start.sequence  # it was signed while the ledger had no entries
    signed_hash = start.hash if at_start else raw_rows.hash_at(connection, checkpoint.sequence)
    if signed_hash != checkpoint.hash:
        raise LedgerCorrupt(
            f"history was rewritten: the entry at {checkpoint.sequence}, or one before it, differs from the one that "
            "was signed"
        )


def _check_snapshots(connection: Connection) -> int:
    """Compute the online state from the outcomes, and compare each snapshot with it; return the number of snapshots."""
    with sql.snapshot(connection):
        rows = raw_rows.all_snapshots(connection)
        remaining: dict[int, bytes] = {row["snapshot_sequence"]: row["snapshot_state"] for row in rows}
        if not remaining:
            return 0
        state, count, last = AdaptiveState(), len(remaining), max(remaining)
        for game in learning.settled_games_after(connection, 0):
            if game.sequence > last:
                break
            state = state.after(game.observations)
            if game.sequence in remaining and state.to_bytes() != remaining.pop(game.sequence):
                raise LedgerCorrupt(f"the snapshot at {game.sequence} does not match the outcomes up to it")
        if remaining:
            raise LedgerCorrupt(f"the snapshot at {min(remaining)} does not belong to an outcome")
        return count
