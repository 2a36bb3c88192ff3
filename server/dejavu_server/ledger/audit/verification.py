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

from dejavu_common.clock import from_microseconds
from dejavu_models.uncertainty.adaptive import AdaptiveState
from dejavu_server.ledger.audit import checkpoints, pruned_statement, revisions, stored_checkpoints
from dejavu_server.ledger.audit.chain import ChainVerifier
from dejavu_server.ledger.audit.entry_times import CLOCK_TOLERANCE, SignedTimes
from dejavu_server.ledger.audit.stored_checkpoints import is_hex
from dejavu_server.ledger.database import pruned_changes, schema, store
from dejavu_server.ledger.database.backend import Backend, Connection
from dejavu_server.ledger.database.backends import read_only_ledger
from dejavu_server.ledger.database.store import Identity
from dejavu_server.ledger.entries import codec
from dejavu_server.ledger.errors import LedgerCorrupt, LedgerError
from dejavu_server.ledger.queries import learning, pruned
from dejavu_server.ledger.queries.pruned import PrunedStatement
from dejavu_server.ledger.queries.verification import raw_rows
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
        forecasts, outcomes, markets, shadows, model_changes: number of entries of each kind.
        settled: number of settled forecasts.
        checkpoints: number of signed heads in the ledger.
        snapshots: number of snapshots of the online state.
        keys: public keys of the checkpoints in the ledger, and of the statement of removed entries, in hexadecimal.
        recorded_before: time before which the removed entries were recorded, ISO 8601; empty if none were removed.
        pruned_time: when entries were last removed, ISO 8601; empty if none were.
    """

    ledger_id: str
    entries: int
    sequence: int
    hash: str
    pruned_through: int = 0
    forecasts: int = 0
    outcomes: int = 0
    markets: int = 0
    shadows: int = 0
    model_changes: int = 0
    settled: int = 0
    checkpoints: int = 0
    snapshots: int = 0
    keys: tuple[str, ...] = ()
    recorded_before: str = ""
    pruned_time: str = ""


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
    if raw_rows.schema_versions(connection) != [schema.REVISION]:
        raise LedgerCorrupt("the ledger's schema version was changed")
    identity = _identity(connection)
    own = list(stored_checkpoints.read(connection, identity, public_keys))
    # A checkpoint from before a restore says nothing about the times of later entries here.
    external = [] if checkpoint is None or checkpoint.epoch != identity.epoch else [checkpoint]
    verifier = ChainVerifier(connection, identity, SignedTimes([*own, *external], clock_tolerance))
    verifier.run()
    revisions.check(connection, pruned=identity.pruned_through > 0)
    if checkpoint is not None:
        _check_external(connection, identity, verifier, checkpoint)
    stored_checkpoints.check_hashes(connection, identity, max((each.sequence for each in own), default=0))
    snapshots, removed = _check_snapshots(connection, identity, public_keys)
    if removed is not None:
        pruned_statement.check_cut(removed, own, None if public_keys else checkpoint)
    times = () if removed is None else (removed.before_us, removed.pruned_us)
    recorded_before, pruned_time = (from_microseconds(each).isoformat() for each in times) if times else ("", "")
    return Verification(
        ledger_id=identity.ledger_id,
        entries=verifier.counts.total(),
        sequence=verifier.sequence,
        hash=verifier.hash.hex(),
        pruned_through=identity.pruned_through,
        forecasts=verifier.counts[codec.FORECAST],
        outcomes=verifier.counts[codec.OUTCOME],
        markets=verifier.counts[codec.MARKET],
        shadows=verifier.counts[codec.SHADOW],
        model_changes=verifier.counts[codec.MODEL],
        settled=raw_rows.count_settled(connection),
        checkpoints=len(own),
        snapshots=snapshots,
        keys=tuple(sorted({each.public_key.hex() for each in (*own, *(() if removed is None else (removed,)))})),
        recorded_before=recorded_before,
        pruned_time=pruned_time,
    )


def _identity(connection: Connection) -> Identity:
    stored = raw_rows.identities(connection)
    if len(stored) != 1:
        raise LedgerCorrupt(f"the ledger is damaged: expected one identity row, found {len(stored)}")
    ledger_id, epoch, through, hash_ = (
        stored[0][f"ledger_{name}"] for name in ("ledger_id", "epoch", "pruned_through", "pruned_hash")
    )
    valid = (
        is_hex(ledger_id, 32)
        and is_hex(epoch, 16)
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


def _check_external(
    connection: Connection, identity: Identity, verifier: ChainVerifier, checkpoint: Checkpoint
) -> None:
    if checkpoint.sequence > verifier.sequence:
        raise LedgerCorrupt(
            f"entries were removed: the ledger ends at {verifier.sequence}, the checkpoint is at {checkpoint.sequence}"
        )
    if checkpoint.sequence < identity.pruned_through:
        raise LedgerCorrupt(
            f"entries up to {identity.pruned_through} were removed: the checkpoint at {checkpoint.sequence} can't be "
            f"verified against them; expected one at {identity.pruned_through} or later"
        )
    # The last pruned hash is that of the last removed entry; without pruning, the start of the chain.
    at_start = checkpoint.sequence == identity.pruned_through
    signed_hash = identity.pruned_hash if at_start else raw_rows.hash_at(connection, checkpoint.sequence)
    if signed_hash != checkpoint.hash:
        raise LedgerCorrupt(
            f"history was rewritten: the entry at {checkpoint.sequence}, or one before it, differs from the one that "
            "was signed"
        )


def _check_snapshots(
    connection: Connection, identity: Identity, public_keys: Collection[bytes]
) -> tuple[int, PrunedStatement | None]:
    """Compute the online state from the outcomes, and compare each snapshot with it.

    If entries were pruned, the computation starts from their signed snapshot.

    Returns:
        The number of snapshots, and the statement of pruned entries; None if nothing was pruned.
    """
    with store.snapshot_read(connection):
        remaining: dict[int, bytes] = {}
        for row in raw_rows.all_snapshots(connection):
            if row["snapshot_part"] in {pruned.STATEMENT, pruned.OUTCOMES, pruned_changes.PART}:
                continue
            if row["snapshot_part"] != learning.INTERVALS or not isinstance(row["snapshot_sequence"], int):
                raise LedgerCorrupt(f"a snapshot has an unknown part: {row['snapshot_part']!r}")
            remaining[row["snapshot_sequence"]] = row["snapshot_state"]
        state = AdaptiveState()
        count = len(remaining)
        removed = pruned_statement.check(connection, identity, public_keys)
        if removed is not None and removed.intervals:
            state = pruned_statement.read_state(remaining.pop(removed.intervals, b""))
        if not remaining:
            return count, removed
        last = max(remaining)
        for game in learning.settled_games_after(connection, 0):
            if game.sequence > last:
                break
            state = state.after(game.observations)
            if game.sequence in remaining and state.to_bytes() != remaining.pop(game.sequence):
                raise LedgerCorrupt(f"the snapshot at {game.sequence} does not match the outcomes up to it")
        if remaining:
            raise LedgerCorrupt(f"the snapshot at {min(remaining)} does not belong to an outcome")
        return count, removed
