"""Walks a ledger's chain from its first entry to its last, and holds all its tables against it.

What is found, and by what:

- a value of any row that was altered, a row that was dropped, put in or moved: by the chain, or because the rows of
  forecasts, outcomes, markets and settlements, and the snapshots of what outcomes taught, are made again from the
  entries, and signatures are checked;
- entries cut off at the end: by a checkpoint of after them, in the ledger or kept elsewhere;
- a chain rebuilt, hashes and all, with whatever content: by a checkpoint that was kept elsewhere. Those in the ledger
  tell too, unless whoever rebuilt it had the key, which checkpoints of other keys than the given ones show.

What is not: that a row of `checkpoints` or `snapshots` was removed, as nothing follows from it; that the past was
rebuilt before the kept checkpoint was made; and entries after it that were cut off and are in no checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, select, text

from dejavu_models.uncertainty.adaptive import AdaptiveState
from dejavu_server.ledger.audit import chain, checkpoints
from dejavu_server.ledger.audit.chain import ChainVerifier, raw
from dejavu_server.ledger.database import schema, store
from dejavu_server.ledger.database.read_only import read_only_ledger
from dejavu_server.ledger.database.schema import entries, ledger, snapshots
from dejavu_server.ledger.database.store import Identity
from dejavu_server.ledger.entries import codec
from dejavu_server.ledger.errors import LedgerCorrupt, LedgerError
from dejavu_server.ledger.queries import learning
from dejavu_server.records import Checkpoint


class InvalidCheckpoint(LedgerError):
    """What a ledger is to be held against is no checkpoint: its signature is not valid, or of another key."""

    reason = "INVALID_CHECKPOINT"


@dataclass(frozen=True, slots=True)
class Verification:
    """What a sound ledger holds.

    Attributes:
        ledger_id: which ledger it is.
        entries: how many entries were verified.
        sequence: the last one's place.
        hash: the last one's hash, in hexadecimal. Kept elsewhere, it proves later that nothing before it was changed.
        pruned_through: entries up to this place were removed; 0: none were.
        forecasts, outcomes, markets: entries of these kinds.
        settlements: how many forecasts have an outcome.
        checkpoints: signed heads in the ledger.
        snapshots: of what outcomes taught.
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
    """Checks every row of a ledger, and that it goes on from a checkpoint kept earlier; see the module's docstring.

    May run while the ledger is written to; it then verifies what stands when it gets there.

    Args:
        url: which ledger.
        checkpoint: what was kept elsewhere.
        public_keys: the only keys that checkpoints may be signed with, 32 bytes each; none: any.

    Raises:
        LedgerCorrupt: at the first thing that is not what was recorded; says which and why.
        InvalidCheckpoint: if `checkpoint` itself is not validly signed.
        InvalidLedgerUrl, LedgerSchemaError, LedgerUnavailable: if it cannot be read as a ledger of this release.
    """
    if checkpoint is not None:
        if not checkpoints.is_signed(checkpoint):
            raise InvalidCheckpoint("the checkpoint's signature is not valid: it is not what was handed out")
        if public_keys and checkpoint.public_key not in public_keys:
            raise InvalidCheckpoint(f"the checkpoint is signed with another key: {checkpoint.public_key.hex()}")
    with read_only_ledger(url) as connection:
        return _verify(connection, checkpoint, public_keys)


def _verify(connection: Connection, checkpoint: Checkpoint | None, public_keys: Collection[bytes]) -> Verification:
    _check_file(connection)
    identity = _identity(connection)
    walk = ChainVerifier(connection, identity)
    walk.run()
    if checkpoint is not None:
        _check_kept(connection, identity, walk, checkpoint)
    keys = list(_check_checkpoints(connection, identity, public_keys))
    return Verification(
        ledger_id=identity.ledger_id,
        entries=sum(walk.counts.values()),
        sequence=walk.sequence,
        hash=walk.hash.hex(),
        pruned_through=identity.pruned_through,
        forecasts=walk.counts.get(codec.FORECAST, 0),
        outcomes=walk.counts.get(codec.OUTCOME, 0),
        markets=walk.counts.get(codec.MARKET, 0),
        settlements=walk.settled,
        checkpoints=len(keys),
        snapshots=_check_snapshots(connection),
        keys=tuple(sorted({key.hex() for key in keys})),
    )


def _check_file(connection: Connection) -> None:
    """That the file is sound, and what the database finds by its indices is what its tables hold."""
    if connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one() != "ok":
        raise LedgerCorrupt("the ledger is damaged: its file is not a sound SQLite database")
    versions = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    if list(versions) != [schema.REVISION]:
        raise LedgerCorrupt("the ledger's version was changed")


def _identity(connection: Connection) -> Identity:
    found = connection.execute(select(*raw(ledger, "its"))).mappings().all()
    if len(found) != 1:
        raise LedgerCorrupt("the ledger is damaged: it has lost its identity")
    ledger_id, epoch, through, hash_ = (
        found[0][f"its_{name}"] for name in ("ledger_id", "epoch", "pruned_through", "pruned_hash")
    )
    sound = (
        _is_hex(ledger_id, 32)
        and _is_hex(epoch, 16)
        and isinstance(through, int)
        and through >= 0
        and isinstance(hash_, bytes)
        and (through > 0 or hash_ == codec.genesis_hash(ledger_id))
    )
    if not sound:
        raise LedgerCorrupt("the ledger's identity was changed")
    kept = connection.execute(select(entries.c.sequence).where(entries.c.sequence <= through).limit(1)).scalar()
    if kept is not None:
        raise LedgerCorrupt(f"entry {kept}: it stands before the place up to which entries were removed")
    return Identity(ledger_id, epoch, through, hash_)


def _is_hex(value: object, digits: int) -> bool:
    return isinstance(value, str) and re.fullmatch(rf"[0-9a-f]{{{digits}}}", value) is not None


def _check_kept(connection: Connection, identity: Identity, walk: ChainVerifier, kept: Checkpoint) -> None:
    if kept.ledger_id != identity.ledger_id:
        raise LedgerCorrupt(
            f"this is not the checkpoint's ledger: its id is {identity.ledger_id}, not {kept.ledger_id}"
        )
    if kept.epoch != identity.epoch:
        raise LedgerCorrupt(
            f"the ledger was restored, or altered, since the checkpoint: its epoch is {identity.epoch}, "
            f"not {kept.epoch}"
        )
    if kept.sequence > walk.sequence:
        raise LedgerCorrupt(
            f"entries were removed: the ledger ends at {walk.sequence}, the checkpoint saw it reach {kept.sequence}"
        )
    if identity.pruned_through:
        raise LedgerCorrupt(
            f"entries up to {identity.pruned_through} were removed: what the checkpoint saw of them can't be shown"
        )
    if _hash_at(connection, identity, kept.sequence) != kept.hash:
        raise LedgerCorrupt(
            f"the past was rewritten: the entry at {kept.sequence}, or one before it, is not the one that the "
            "checkpoint saw"
        )


def _hash_at(connection: Connection, identity: Identity, sequence: int) -> object:
    """The hash of the entry at a place, or of what the first one is chained to; None if there is no entry there."""
    if sequence == identity.pruned_through:
        return identity.pruned_hash
    hash_: object = connection.execute(select(entries.c.hash).where(entries.c.sequence == sequence)).scalar()
    return hash_


def _check_checkpoints(connection: Connection, identity: Identity, public_keys: Collection[bytes]) -> Iterator[bytes]:
    """Checks the checkpoints in the ledger; gives the public key of each."""
    table = schema.checkpoints
    query = (
        select(*raw(table, "its"), chain.raw_value(entries.c.hash, "entry_hash"))
        .outerjoin(entries, entries.c.sequence == table.c.sequence)
        .order_by(table.c.sequence)
        .limit(chain.PAGE)
    )
    place = -(2**63)
    while page := connection.execute(query.where(table.c.sequence > place)).mappings().all():
        for row in page:
            found = _read_checkpoint(row, identity)
            place = found.sequence
            if not checkpoints.is_signed(found):
                raise LedgerCorrupt(f"the ledger's checkpoint at {place} is not the one that was signed")
            if public_keys and found.public_key not in public_keys:
                raise LedgerCorrupt(
                    f"the ledger's checkpoint at {place} is signed with another key: {found.public_key.hex()}"
                )
            hash_ = identity.pruned_hash if place == identity.pruned_through else row["entry_hash"]
            if hash_ is None and place > identity.pruned_through:
                raise LedgerCorrupt(f"entries were removed: the ledger's own checkpoint saw it reach {place}")
            if hash_ is not None and hash_ != found.hash:
                raise LedgerCorrupt(f"the past was rewritten: the ledger's own checkpoint at {place} saw another one")
            yield found.public_key


def _read_checkpoint(row: RowMapping, identity: Identity) -> Checkpoint:
    values: dict[str, Any] = {name.removeprefix("its_"): value for name, value in row.items()}
    place = values["sequence"]
    try:
        if not (
            isinstance(values["signed_us"], int)
            and _is_hex(values["epoch"], 16)
            and all(isinstance(values[name], bytes) for name in ("hash", "public_key", "signature"))
        ):
            raise ValueError("values of other types than were recorded")
        return Checkpoint(
            ledger_id=identity.ledger_id,
            epoch=values["epoch"],
            sequence=place,
            hash=values["hash"],
            signed_time=codec.from_microseconds(values["signed_us"]),
            public_key=values["public_key"],
            signature=values["signature"],
        )
    except (ValueError, OverflowError) as error:
        raise LedgerCorrupt(f"the ledger's checkpoint at {place} is not the one that was signed: {error}") from error


def _check_snapshots(connection: Connection) -> int:
    """Folds the outcomes anew, and holds each snapshot against the state at its place; returns how many there are."""
    with store.snapshot_read(connection):
        kept: dict[int, bytes] = {}
        for row in connection.execute(select(*raw(snapshots, "its"))).mappings():
            if row["its_part"] != learning.INTERVALS or not isinstance(row["its_sequence"], int):
                raise LedgerCorrupt(f"there is a snapshot of something unknown: {row['its_part']!r}")
            kept[row["its_sequence"]] = row["its_state"]
        if not kept:
            return 0
        count, last = len(kept), max(kept)
        state = AdaptiveState()
        for game in learning.settled_games_after(connection, 0):
            if game.sequence > last:
                break
            state = state.after(game.observations)
            if game.sequence in kept and kept.pop(game.sequence) != state.to_bytes():
                raise LedgerCorrupt(f"the snapshot at {game.sequence} is not what the outcomes up to there teach")
        if kept:
            raise LedgerCorrupt(f"there is a snapshot at {min(kept)}, and no outcome")
        return count
