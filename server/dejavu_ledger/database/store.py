"""The ledger's chain on a connection that the caller provides: its head, its entries, who holds its leases."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.sql import database_time
from dejavu_ledger.entries import codec
from dejavu_ledger.entries.rows import Row
from dejavu_ledger.errors import LedgerCorrupt
from dejavu_ledger.records import IssuedForecast, ReportedOutcome

_LAST_SEQUENCE = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of a ledger: where two are equal, sequences of one ledger are valid in the other.

    Attributes:
        ledger_id: UUID of the ledger, 32 hexadecimal digits.
        epoch: 16 hexadecimal digits, redrawn by a restore.
    """

    ledger_id: str
    epoch: str


class ChainHead(NamedTuple):
    """Sequence and hash of the last entry of the chain, or of its part up to an entry."""

    sequence: int
    hash: bytes


class Position(NamedTuple):
    """The state of a ledger: equal positions have equal entries.

    Attributes:
        epoch: see `Identity`.
        sequence, hash: of the newest entry, see `head`.
        model_change: sequence of the newest change of models; 0 if there is none.
    """

    epoch: str
    sequence: int
    hash: bytes
    model_change: int = 0


def identity(connection: Connection) -> Identity:
    """Return the identity of the ledger.

    Raises:
        LedgerCorrupt: if its row is missing.
    """
    found = sql.row(connection, "SELECT ledger_id, epoch FROM ledger")
    if found is None:
        raise LedgerCorrupt("the ledger is damaged: its identity is missing")
    return Identity(*found)


def head(connection: Connection) -> ChainHead:
    """Return sequence and hash of the newest entry; without entries, the start of the chain."""
    found = sql.row(connection, "SELECT sequence, hash FROM entries ORDER BY sequence DESC LIMIT 1")
    return start_of_chain(identity(connection).ledger_id) if found is None else ChainHead(*found)


def position(connection: Connection) -> Position:
    """Return the position of the ledger.

    Raises:
        LedgerCorrupt: if the row of its identity is missing.
    """
    found = sql.row(connection, _POSITION)
    if found is None:
        raise LedgerCorrupt("the ledger is damaged: its identity is missing")
    ledger_id, epoch, sequence, hash_, model_change = found
    if sequence is None:
        return Position(epoch, *start_of_chain(ledger_id))
    return Position(epoch, sequence, hash_, model_change or 0)


def start_of_chain(ledger_id: str) -> ChainHead:
    """Return the head of a ledger without entries: sequence 0, and the hash that the first entry is chained to."""
    return ChainHead(0, codec.genesis_hash(ledger_id))


def entry_row(entry: codec.Entry, payload: str, previous: bytes) -> Row:
    """Return the row of `entries` for an entry, given the canonical form of its payload and the hash before it."""
    text = codec.encode_entry(entry, payload)
    hash_ = codec.chain_hash(previous, text)
    return {"sequence": entry.sequence, "kind": entry.kind, "canonical": text, "hash": hash_}


def entry_at(connection: Connection, sequence: int) -> ChainHead | None:
    """Return sequence and hash of an entry, or of the start of the chain at 0; None if there is no such entry."""
    if sequence == 0:
        return start_of_chain(identity(connection).ledger_id)
    if sequence > _LAST_SEQUENCE:
        return None
    hash_ = sql.value(connection, _HASH, sequence=sequence)
    return None if hash_ is None else ChainHead(sequence, hash_)


def held_leases(connection: Connection) -> list[tuple[str, str]]:
    """Return names and callers of the valid leases."""
    now = database_time(connection)
    found = sql.rows(connection, "SELECT name, caller, expires_us FROM leases")
    return [(name, caller) for name, caller, expires_us in found if is_valid(expires_us, now)]


LONGEST_US: Final = 10 * 60 * 10**6
"""Longest remaining time of a valid lease, in microseconds: twice the longest time for which one is granted, because
the clock can be corrected a little."""


def is_valid(expires_us: int, now: int) -> bool:
    """Return whether a lease is valid; False if it would last too long, as after the clock was set back."""
    return now < expires_us <= now + LONGEST_US


def probe_write(connection: Connection) -> None:
    """Rewrite a row with its own values: committing it tests whether the ledger is writable and changes nothing."""
    sql.rows(connection, "UPDATE ledger SET epoch = epoch")


def read_after(
    connection: Connection, sequence: int, limit: int, game_ids: Collection[str] = ()
) -> list[IssuedForecast | ReportedOutcome]:
    """Return the first `limit` forecasts and outcomes after a sequence, in order: of some games, or of all.

    Forecasts of callers who do not own their game are left out: they are answers to these callers alone.
    """
    if game_ids:
        rows = sql.rows(connection, _AFTER_OF_GAMES, after=sequence, limit=limit, games=[*game_ids])
    else:
        rows = sql.rows(connection, _AFTER, after=sequence, limit=limit)
    with decoding():
        return [replace(_READERS[kind](text), hash=hash_) for kind, text, hash_ in rows]


def newest(connection: Connection) -> ChainHead:
    """Return sequence and hash of the newest forecast or outcome; without any, the start of the chain."""
    found = sql.row(connection, _NEWEST)
    return start_of_chain(identity(connection).ledger_id) if found is None else ChainHead(*found)


@contextmanager
def decoding() -> Iterator[None]:
    """Convert the ValueError of an entry that cannot be parsed to a LedgerCorrupt."""
    try:
        yield
    except ValueError as error:
        raise LedgerCorrupt("the ledger is damaged: an entry cannot be read back") from error


_READERS: Final[dict[str, Callable[[str], IssuedForecast | ReportedOutcome]]] = {
    codec.FORECAST: codec.parse,
    codec.OUTCOME: codec.parse_outcome,
}

_POSITION: Final = """
SELECT l.ledger_id, l.epoch, e.sequence, e.hash, (SELECT MAX(sequence) FROM model_changes)
FROM ledger l LEFT JOIN entries e ON e.sequence = (SELECT MAX(sequence) FROM entries)"""

_HASH: Final = "SELECT hash FROM entries WHERE sequence = :sequence"

_AFTER: Final = """
SELECT e.kind, e.canonical, e.hash FROM entries e LEFT JOIN forecasts f ON f.sequence = e.sequence
WHERE e.sequence > :after AND (e.kind = 'outcome' OR (e.kind = 'forecast' AND COALESCE(f.owned, TRUE)))
ORDER BY e.sequence LIMIT :limit"""

# The rows of these games are found by their indexes: the entries of all others are neither read nor decoded. The limit
# is applied before the join, so that only the entries of the page are read.
_AFTER_OF_GAMES: Final = """
SELECT e.kind, e.canonical, e.hash FROM (
    SELECT sequence FROM forecasts WHERE sequence > :after AND game_id IN :games AND owned
    UNION ALL SELECT sequence FROM outcomes WHERE sequence > :after AND game_id IN :games
    ORDER BY sequence LIMIT :limit
) page JOIN entries e ON e.sequence = page.sequence ORDER BY e.sequence"""

_NEWEST: Final = """
SELECT sequence, hash FROM entries WHERE kind IN ('forecast', 'outcome') ORDER BY sequence DESC LIMIT 1"""
