"""Summary of removed entries: a signed statement, the state from which learning continues, and the changes of models.

Ratings are computed from all outcomes, and a bundle that is added later computes its own, so pruning keeps the outcomes
themselves, some 30 bytes each, and a few hundred with a box score. Intervals are also computed from the removed
forecasts, so their state as of the last removed outcome stays as a snapshot. With both, the online state is unchanged.

The roster follows from every change of models since the first, so removed changes are kept verbatim.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from dejavu_models.types import Horizon
from dejavu_server.ledger.database import pruned_changes, pruned_games
from dejavu_server.ledger.database.compressed import decompress
from dejavu_server.ledger.database.schema import snapshots
from dejavu_server.ledger.errors import LedgerCorrupt

STATEMENT: Final = "pruned"
"""`part` of the snapshot that holds the statement of the removal; its sequence is the last one to remove."""

OUTCOMES: Final = pruned_games.PART
"""`part` of the snapshot that holds the outcomes, at the same sequence."""


class PrunedOutcome(NamedTuple):
    """A standing outcome to learn from that was removed; see `learning.SettledGame`."""

    sequence: int
    game_id: str
    horizon: Horizon
    differential: int
    home_team: str
    away_team: str
    day: date
    total_points: int | None = None
    neutral_site: bool | None = None
    players: str | None = None


@dataclass(frozen=True, slots=True)
class PrunedStatement:
    """Statement of removed entries, signed with the key of the checkpoints. Removing more replaces it.

    Attributes:
        through: entries up to this sequence were, or are being, removed.
        hash: hash of the entry at that sequence: 32 bytes.
        before_us: when the checkpoint at that sequence was signed: everything removed was recorded before; microseconds
            since 1970.
        pruned_us: when the statement was signed, as above.
        reported, standing: `learning.Newest` as of `through`.
        intervals: sequence of the snapshot of the intervals at the removal; 0: nothing was learned.
        digest: SHA-256 of that snapshot's state, of the removed outcomes and changes of models, in hexadecimal.
        public_key: ed25519 public key: 32 bytes.
        signature: ed25519 signature over `signed_text`: 64 bytes.
    """

    through: int
    hash: bytes
    before_us: int
    pruned_us: int
    reported: int
    standing: int
    intervals: int
    digest: str
    public_key: bytes = b""
    signature: bytes = b""

    def signed_text(self, ledger_id: str) -> str:
        """Return the text to sign."""
        numbers = (self.before_us, self.pruned_us, self.reported, self.standing, self.intervals)
        return (
            f"dejavu pruned 1\n{ledger_id}\n{self.through}\n{self.hash.hex()}\n"
            + "\n".join(str(number) for number in numbers)
            + f"\n{self.digest}\n"
        )


def read_statement(connection: Connection) -> PrunedStatement | None:
    """Return the statement of removed entries; None if there are none.

    Raises:
        LedgerCorrupt: if it cannot be read.
    """
    row = connection.execute(_STATE, {"of_part": STATEMENT}).one_or_none()
    if row is None:
        return None
    try:
        values: dict[str, Any] = json.loads(row.state)
        for name in ("hash", "public_key", "signature"):
            values[name] = bytes.fromhex(values[name])
        statement = PrunedStatement(**values)
        if statement.through != row.sequence or type(statement.intervals) is not int:
            raise ValueError("its sequence, or that of its intervals, is wrong")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LedgerCorrupt("the ledger is damaged: the snapshot of what was pruned cannot be read") from error
    return statement


def through(connection: Connection) -> int:
    """Return the last sequence that was removed or is being removed; 0 if there is none."""
    sequence: int | None = connection.execute(_THROUGH).scalar()
    return sequence or 0


def read_outcomes(connection: Connection) -> list[PrunedOutcome]:
    """Return the removed outcomes in order of their sequences.

    Raises:
        LedgerCorrupt: if they cannot be read.
    """
    row = connection.execute(_STATE, {"of_part": OUTCOMES}).one_or_none()
    if row is None:
        return []
    try:
        return [
            PrunedOutcome(sequence, game_id, Horizon(horizon), differential, home, away, date.fromordinal(day), *more)
            for sequence, game_id, horizon, differential, home, away, day, *more in json.loads(
                decompress(row.state, "pruned outcomes")
            )
        ]
    except (ValueError, TypeError) as error:
        raise LedgerCorrupt("the ledger is damaged: the snapshot of pruned outcomes cannot be read") from error


def encode_outcomes(outcomes: Sequence[PrunedOutcome]) -> bytes:
    """Return outcomes as they are stored."""
    return zlib.compress(_text(outcomes), 9)


def digest(intervals: bytes, outcomes: Sequence[PrunedOutcome], changes: Sequence[str] = ()) -> str:
    """Return the digest of the summary of removed entries.

    Args:
        intervals: the state of the intervals; empty if nothing was learned.
        outcomes: the outcomes.
        changes: canonical forms of the changes of models. Without changes, the digest is the same as in releases that
            had no changes of models.
    """
    models = b"\n" + pruned_changes.text(changes) if changes else b""
    return hashlib.sha256(hashlib.sha256(intervals).digest() + _text(outcomes) + models).hexdigest()


def _text(outcomes: Sequence[PrunedOutcome]) -> bytes:
    rows = [(*each[:2], each.horizon.value, *each[3:6], each.day.toordinal(), *each[7:]) for each in outcomes]
    return json.dumps(rows, separators=(",", ":")).encode()


def write(
    connection: Connection,
    statement: PrunedStatement,
    outcomes: Sequence[PrunedOutcome],
    changes: Sequence[str] = (),
) -> None:
    """Replace the stored statement, outcomes and changes, in a transaction that holds the write lock.

    Also deletes the snapshots up to `through`, except the one at `statement.intervals`, which stands for the removed
    forecasts.
    """
    values: dict[str, Any] = {name: getattr(statement, name) for name in PrunedStatement.__dataclass_fields__}
    values |= {name: values[name].hex() for name in ("hash", "public_key", "signature")}
    connection.execute(delete(snapshots).where(snapshots.c.part.in_([STATEMENT, OUTCOMES, pruned_changes.PART])))
    connection.execute(
        delete(snapshots).where(snapshots.c.sequence <= statement.through, snapshots.c.sequence != statement.intervals)
    )
    rows = [(STATEMENT, json.dumps(values).encode()), (OUTCOMES, encode_outcomes(outcomes))]
    if changes:
        rows.append((pruned_changes.PART, pruned_changes.encode(changes)))
    connection.execute(
        insert(snapshots), [{"part": part, "sequence": statement.through, "state": state} for part, state in rows]
    )


_STATE = select(snapshots.c.sequence, snapshots.c.state).where(snapshots.c.part == bindparam("of_part"))
_THROUGH = select(func.max(snapshots.c.sequence)).where(snapshots.c.part == STATEMENT)
