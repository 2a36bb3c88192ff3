"""Verifies a ledger: the hash chain from first to last entry, and all tables against it.

docs/record.md lists the checks. Without an external checkpoint, a chain that was rebuilt as a whole, or cut off
at the end, passes the chain's own checks. The ledger's own checkpoints detect this only while they exist, and only if
the chain was not signed again (with another key, which `public_keys` detects). Never detected: a removed row of
`checkpoints` or `snapshots`, because nothing is derived from it; a history rebuilt before the external checkpoint was
made; entries appended after the last checkpoint that look like a server's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from dejavu_common.clock import from_microseconds
from dejavu_ledger import settling
from dejavu_ledger.audit import checkpoints
from dejavu_ledger.audit.chain import ChainVerifier, difference, stored_rows
from dejavu_ledger.audit.checkpoints import CLOCK_TOLERANCE, SignedTimes
from dejavu_ledger.database import schema, sql, store
from dejavu_ledger.database.backend import Backend, Connection
from dejavu_ledger.database.backends import read_only_ledger
from dejavu_ledger.database.store import Identity
from dejavu_ledger.entries import codec
from dejavu_ledger.errors import LedgerCorrupt, LedgerError
from dejavu_ledger.queries import learning
from dejavu_ledger.records import Checkpoint
from dejavu_ledger.rules import GameRecord
from dejavu_models.uncertainty.adaptive import AdaptiveState


class InvalidCheckpoint(LedgerError, reason="INVALID_CHECKPOINT"):
    """The checkpoint to compare with is not valid: its signature is wrong, or of another key."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Contents of a ledger that passed verification.

    Attributes:
        ledger_id: the ledger's id.
        sequence: sequence of the last entry, and the number of entries: there are no gaps.
        hash: hash of the last entry, in hexadecimal. Stored elsewhere, it proves later that nothing before it changed.
        forecasts, outcomes, markets, shadows, model_changes: number of entries of each kind.
        settled: number of settled forecasts.
        checkpoints: number of signed heads in the ledger.
        snapshots: number of snapshots of the online state.
        keys: public keys of the checkpoints in the ledger, in hexadecimal.
    """

    ledger_id: str
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


_COUNT_SETTLED: Final = """
    SELECT count(*) FROM scores s JOIN forecasts f ON f.game_id = s.game_id AND f.horizon = s.horizon
    WHERE s.outcome IS NOT NULL
"""


def verify(
    ledger: str | Backend,
    checkpoint: Checkpoint | None = None,
    *,
    public_keys: Collection[bytes] = (),
    clock_tolerance: timedelta = CLOCK_TOLERANCE,
    restored: bool = False,
) -> Verification:
    """Verify every row of a ledger, and that it continues from an earlier checkpoint; see the module's docstring.

    May run while the ledger is written to; it then verifies the state that it reads.

    Args:
        ledger: URL of the ledger, or its database if that is open.
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
    with read_only_ledger(ledger) if isinstance(ledger, str) else nullcontext(ledger) as backend:
        if checkpoint is not None and (fault := _fault_of_signature(checkpoint, public_keys)) is not None:
            raise InvalidCheckpoint(f"the checkpoint {fault}")
        with backend.read() as connection:
            backend.check_integrity(connection, thorough=True)
            if sql.rows(connection, "SELECT version FROM schema_version") != [(schema.VERSION,)]:
                raise LedgerCorrupt("the ledger's schema version was changed")
            identity = _identity(connection)
            own = _own_checkpoints(connection, identity, public_keys)
            signed = [("the ledger's checkpoint", each) for each in own]
            if checkpoint is not None:
                _check_same_ledger(identity, checkpoint, restored=restored)
                signed.insert(0, ("the checkpoint", checkpoint))
            # A checkpoint from before a restore says nothing about the times of later entries here.
            times = [each for _, each in signed if each is not checkpoint or each.epoch == identity.epoch]
            verifier = ChainVerifier(connection, identity, SignedTimes(times, clock_tolerance))
            verifier.run()
            _check_hindsight(connection, verifier.games, verifier.head.sequence)
            check_scores(connection)
            for name, each in signed:
                _check_signed_entry(connection, name, each, verifier.head.sequence)
            return Verification(
                ledger_id=identity.ledger_id,
                sequence=verifier.head.sequence,
                hash=verifier.head.hash.hex(),
                forecasts=verifier.counts[codec.FORECAST],
                outcomes=verifier.counts[codec.OUTCOME],
                markets=verifier.counts[codec.MARKET],
                shadows=verifier.counts[codec.SHADOW],
                model_changes=verifier.counts[codec.MODEL],
                settled=sql.value(connection, _COUNT_SETTLED),
                checkpoints=len(own),
                snapshots=_check_snapshots(connection),
                keys=tuple(sorted({each.public_key.hex() for each in own})),
            )


def _identity(connection: Connection) -> Identity:
    stored = sql.rows(connection, "SELECT ledger_id, epoch FROM ledger")
    if len(stored) != 1:
        raise LedgerCorrupt(f"the ledger is damaged: expected one identity row, found {len(stored)}")
    [(ledger_id, epoch)] = stored
    if not (_is_hex(ledger_id, 32) and _is_hex(epoch, 16)):
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


def _check_signed_entry(connection: Connection, name: str, checkpoint: Checkpoint, last: int) -> None:
    """Check that the entry of a checkpoint is there, and has the hash that was signed; `last`: the last entry."""
    sequence = checkpoint.sequence
    if sequence > last:
        raise LedgerCorrupt(f"entries were removed: the ledger ends at {last}, {name} is at {sequence}")
    entry = store.entry_at(connection, sequence)
    if entry is None or entry.hash != checkpoint.hash:
        raise LedgerCorrupt(
            f"history was rewritten: by {name}, the entry at {sequence}, or one before it, differs from the one that "
            "was signed"
        )


def _check_snapshots(connection: Connection) -> int:
    """Compute the online state from the outcomes, and compare each snapshot with it; return the number of snapshots."""
    with sql.snapshot(connection):
        remaining: dict[int, bytes] = dict(sql.rows(connection, "SELECT sequence, state FROM snapshots"))
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


def _own_checkpoints(connection: Connection, identity: Identity, public_keys: Collection[bytes]) -> list[Checkpoint]:
    """Return the ledger's checkpoints in order of sequence.

    Args:
        connection: a read connection.
        identity: identity of the ledger.
        public_keys: the only keys that may have signed them, 32 bytes each; empty: any.

    Raises:
        LedgerCorrupt: at the first that was altered, or is signed with another key.
    """
    own = []
    for row in stored_rows(connection, "checkpoints", "ORDER BY sequence"):
        name, signed_us = f"the ledger's checkpoint at {row['sequence']}", row.pop("signed_us")
        try:
            if not (
                isinstance(signed_us, int)
                and _is_hex(row["epoch"], 16)
                and all(isinstance(row[each], bytes) for each in ("hash", "public_key", "signature"))
            ):
                raise ValueError("a value has the wrong type")
            own.append(Checkpoint(identity.ledger_id, signed_time=from_microseconds(signed_us), **row))
        except (ValueError, OverflowError) as error:
            raise LedgerCorrupt(f"{name} was altered: {error}") from error
        if (fault := _fault_of_signature(own[-1], public_keys)) is not None:
            raise LedgerCorrupt(f"{name} {fault}")
    return own


def _fault_of_signature(checkpoint: Checkpoint, public_keys: Collection[bytes]) -> str | None:
    """Describe what is wrong with a checkpoint's signature; None if it is valid, and of a key that may be used."""
    if not checkpoints.is_signed(checkpoint):
        return "was altered: its signature is not valid"
    if public_keys and checkpoint.public_key not in public_keys:
        return f"is signed with another key: {checkpoint.public_key.hex()}"
    return None


def _is_hex(value: object, digits: int) -> bool:
    """Return whether a stored value is text of exactly `digits` lower-case hexadecimal digits."""
    return isinstance(value, str) and re.fullmatch(rf"[0-9a-f]{{{digits}}}", value) is not None


_MADE: Final = {
    "forecasts": "SELECT sequence, minute, generated_us, hindsight FROM forecasts WHERE game_id = :game_id",
    "markets": """
        SELECT markets.sequence, forecasts.minute, markets.sent_us, markets.hindsight
        FROM forecasts JOIN markets ON markets.forecast_sequence = forecasts.sequence WHERE forecasts.game_id = :game_id
    """,
}


def _check_hindsight(connection: Connection, games: Mapping[str, GameRecord], last: int) -> None:
    """Check the marks of all forecasts and markets, whose other columns were compared with their entries before.

    Args:
        connection: a read connection.
        games: the states of all games after the last entry.
        last: sequence of that entry; a server may record further ones meanwhile, and mark earlier ones by them.

    Raises:
        LedgerCorrupt: at a mark that does not follow from the reports of the game; the message names its entry.
    """
    for game_id, game in games.items():
        for table, made in _MADE.items():
            for sequence, minute, made_us, mark in sql.rows(connection, made, game_id=game_id):
                time = None if made_us is None else from_microseconds(made_us)
                expected = None if time is None else game.hindsight(sequence, minute, time)
                found = None if isinstance(mark, int) and mark > last else mark
                if sequence <= last and difference({"hindsight": found}, {"hindsight": expected}) is not None:
                    raise LedgerCorrupt(
                        f"entry {sequence}: the row in {table} does not match the entries: column hindsight differs"
                    )


def check_scores(connection: Connection) -> None:
    """Check that `scores` has the rows that follow from the other tables.

    Args:
        connection: a read connection.

    Raises:
        LedgerCorrupt: at the first row that is missing, altered, or of nothing reported; the message names it.
    """
    games = sql.rows(connection, "SELECT game_id FROM outcomes UNION SELECT game_id FROM scores")
    for (game_id,) in games:
        with sql.snapshot(connection):  # a server may record an outcome meanwhile
            found = stored_rows(connection, "scores", "WHERE game_id = :game_id", game_id=game_id)
            settled = settling.settled_rows(connection, game_id)
        stored = {row["horizon"]: row for row in found}
        for expected in settled:
            row, name = stored.pop(expected["horizon"], None), _score_name(game_id, expected["horizon"])
            if row is None:
                raise LedgerCorrupt(f"{name} is missing")
            if (column := difference(row, expected)) is not None:
                raise LedgerCorrupt(f"{name} does not match the entries: column {column} differs")
        for horizon in stored:
            raise LedgerCorrupt(f"{_score_name(game_id, horizon)} should not exist")


def _score_name(game_id: object, horizon: object) -> str:
    return f"the row in scores of game {game_id} at the {horizon}"
