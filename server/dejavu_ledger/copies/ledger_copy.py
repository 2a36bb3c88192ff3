"""Copies a ledger to another database, entry by entry with the rows derived from each.

The content of the target shows the progress: an interrupted copy continues after the target's newest entry. Until it
is complete, the target has an epoch of its own. So if a server is started on half a copy, resume tokens of the source
expire there with a reason, and no stream skips missing entries.

The chain of the entries is checked while they are read, and `audit.verification` derives all rows of the copy again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypeAlias

from dejavu_ledger.audit.entry_times import CLOCK_TOLERANCE
from dejavu_ledger.audit.verification import verify_backend
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Backend, Connection
from dejavu_ledger.database.backends import new_backend
from dejavu_ledger.database.schema import TABLES
from dejavu_ledger.database.store import ChainHead, Identity
from dejavu_ledger.entries import codec
from dejavu_ledger.errors import LedgerCorrupt, LedgerError, LedgerUnavailable, mebibytes_left
from dejavu_ledger.queries.verification import raw_rows
from dejavu_ledger.scores.settling import settle

MARGIN_BYTES = 4 * 1024 * 1024
"""Free space to leave during a copy: a server on the same disk records meanwhile."""

PAGE = 500
"""Entries that are read, and written in one transaction, at a time."""

_SUMMARIES: Final = ("checkpoints", "snapshots")
"""Tables whose rows summarize all entries up to a sequence."""

_SUMMARIES_AT_ONCE: Final = 50  # a snapshot may have a megabyte

_SUMMARIZED: Final = "SELECT sequence FROM checkpoints UNION ALL SELECT sequence FROM snapshots LIMIT 1"

_ROWS: Final = (
    "SELECT COLUMNS FROM TABLE WHERE sequence > :after AND sequence <= :through ORDER BY sequence LIMIT :most"
)

_MARKED: Final = {
    "forecasts": "SELECT sequence, hindsight FROM forecasts WHERE game_id IN :games AND hindsight IS NOT NULL",
    "markets": """
        SELECT m.sequence, m.hindsight FROM forecasts f JOIN markets m ON m.forecast_sequence = f.sequence
        WHERE f.game_id IN :games AND m.hindsight IS NOT NULL
    """,
}
"""Rows of games that were marked as hindsight, by entries after their own."""

_MARK: Final = "UPDATE TABLE SET hindsight = :hindsight WHERE sequence = :sequence"

_Row: TypeAlias = Mapping[str, Any]


class TargetRefused(LedgerError, reason="TARGET_REFUSED"):
    """The target of a copy or restore is in use for something else."""


class StepProgress(NamedTuple):
    """Progress of a copy.

    Attributes:
        step: current step: copying or verifying.
        sequence: the last entry that was copied or verified.
        head: the entry to reach; it rises while a server records.
    """

    step: str
    sequence: int
    head: int


@dataclass(frozen=True, slots=True)
class CopiedLedger:
    """Result of a copy.

    Attributes:
        ledger_id: id of both ledgers.
        epoch: epoch of the copy.
        sequence: sequence of its last entry, and the number of its entries.
        hash: its hash, in hexadecimal.
        added: entries that this run has added; the others were there before.
    """

    ledger_id: str
    epoch: str
    sequence: int
    hash: str
    added: int


Report = Callable[[StepProgress], None]


def copy_ledger(
    source: Backend,
    target: Backend,
    *,
    epoch: str | None = None,
    report: Report = lambda _: None,
    clock_tolerance: timedelta = CLOCK_TOLERANCE,
) -> CopiedLedger:
    """Copy a ledger to an empty one, or to one that holds its first entries already.

    A server may record in the source meanwhile: the copy goes on until it has the newest entry. It may be interrupted
    at any point, by kill -9 too, and be called again.

    Args:
        source: the ledger, opened for reading.
        target: another ledger, opened with `make`.
        epoch: epoch of the complete copy; by default the source's, so that resume tokens stay valid.
        report: called after each page.
        clock_tolerance: see `verify`.

    Raises:
        TargetRefused: if the target is neither empty nor holds the first entries of the source.
        LedgerCorrupt: if the source or the copy is damaged. Copied entries stay there.
        LedgerUnavailable: if one of them cannot be read or written.
    """
    copy = _Copy(source, target, epoch, report)
    copy.begin()
    started_at = copy.at.sequence
    copy.catch_up()
    while not copy.summarize():
        copy.catch_up()
    report(StepProgress("verifying", copy.at.sequence, copy.at.sequence))
    verify_backend(target, clock_tolerance=clock_tolerance)
    while not copy.summarize(complete=True):
        copy.catch_up()
    target.notify()
    report(StepProgress("done", copy.at.sequence, copy.at.sequence))
    sequence, hash_ = copy.at
    return CopiedLedger(copy.identity.ledger_id, copy.epoch, sequence, hash_.hex(), sequence - started_at)


class _Copy:
    """One run of a copy.

    Attributes:
        identity: identity of the source.
        epoch: epoch of the complete copy.
        at: the last entry that the target holds.
    """

    def __init__(self, source: Backend, target: Backend, epoch: str | None, report: Report) -> None:
        self._source = source
        self._target = target
        self._report = report
        with source.read() as connection:
            self.identity = store.identity(connection)
            self._head = store.head(connection)
        self.epoch = epoch or self.identity.epoch
        self.at = store.start_of_chain(self.identity.ledger_id)

    def begin(self) -> None:
        """Check the target, and mark it as incomplete unless it has everything already."""
        with self._target.write() as connection:
            held, at = store.identity(connection), store.head(connection)
            empty = not at.sequence and sql.value(connection, _SUMMARIZED) is None
            if empty:
                set_identity(connection, replace(self.identity, epoch=new_epoch()))
            else:
                self.at = at
                self._check_prefix(held)
                if at.sequence < self._head.sequence and held.epoch in {self.identity.epoch, self.epoch}:
                    set_identity(connection, replace(held, epoch=new_epoch()))
        if empty:
            self._target.open(make=False)  # it is another ledger now

    def _check_prefix(self, held: Identity) -> None:
        mine = self.identity
        if held.ledger_id != mine.ledger_id:
            raise TargetRefused(
                f"the target holds another ledger, {held.ledger_id}; expected an empty one, or the beginning of "
                f"{mine.ledger_id}"
            )
        with self._source.read() as connection:
            in_source = not self.at.sequence or raw_rows.hash_at(connection, self.at.sequence) == self.at.hash
        if not in_source:
            raise TargetRefused(
                f"the target's newest entry, {self.at.sequence:,}, is not that of the source, which ends at "
                f"{self._head.sequence:,}: something else was recorded there; copy to an empty target"
            )

    def catch_up(self) -> None:
        """Copy the entries that the target does not hold yet, in transactions of one page."""
        while True:
            with self._source.read() as connection:
                self._head = store.head(connection)
                entries = _rows(connection, "entries", self.at.sequence, self._head.sequence, PAGE)
                last = _checked(self.at, entries)
                derived = {name: _rows(connection, name, self.at.sequence, last.sequence) for name in raw_rows.DERIVED}
                settled = sorted({row["game_id"] for row in derived["outcomes"]})
                marks = {name: sql.rows(connection, text, games=settled) for name, text in _MARKED.items()}
            if not entries:
                return
            with self._target.write() as connection:
                if store.head(connection) != self.at:
                    raise TargetRefused("something else was recorded in the target while it was being copied to")
                for table, rows in {"entries": entries, **derived}.items():
                    sql.insert(connection, table, rows)
                for table, marked in marks.items():
                    given = [{"sequence": sequence, "hindsight": report} for sequence, report in marked]
                    sql.run_each(connection, _MARK.replace("TABLE", table), given)
                for game_id in settled:
                    settle(connection, game_id)
            self.at = last
            self._report(StepProgress("copying", self.at.sequence, self._head.sequence))

    def summarize(self, *, complete: bool = False) -> bool:
        """Give the target the source's checkpoints and snapshots, and no others.

        Args:
            complete: whether to give it its epoch, as a complete copy.

        Returns:
            False if entries were added since: the summaries may then be newer, and nothing was done.
        """
        with self._source.read() as source, sql.snapshot(source):
            if store.head(source) != self.at:
                return False
            if store.identity(source) != self.identity:
                raise TargetRefused("the source was restored while it was copied; copy to an empty target")
            with self._target.write() as target:
                for table in _SUMMARIES:
                    sql.rows(target, "DELETE FROM TABLE".replace("TABLE", table))
                    for rows in _pages(source, table, self.at.sequence, _SUMMARIES_AT_ONCE):
                        sql.insert(target, table, rows)
                if complete:
                    set_identity(target, replace(self.identity, epoch=self.epoch))
        return True


def _pages(connection: Connection, table: str, through: int, size: int) -> Iterator[list[_Row]]:
    """Yield the rows of a table up to a sequence, in order, some at a time."""
    after = 0
    while rows := _rows(connection, table, after, through, size):
        yield rows
        after = rows[-1]["sequence"]


def _rows(connection: Connection, table: str, after: int, through: int, most: int | None = None) -> list[_Row]:
    """Return the rows of a table after a sequence, up to another, in order; most: how many, None for all."""
    columns = TABLES[table]
    text = _ROWS.replace("COLUMNS", ", ".join(columns)).replace("TABLE", table)
    # Neither database has a word for no limit that both know; sequences have no gaps, so there are not more rows.
    found = sql.rows(connection, text, after=after, through=through, most=through - after if most is None else most)
    flags = [kind == "BOOLEAN" for kind in columns.values()]  # SQLite has numbers instead
    return [
        {
            name: bool(value) if flag and value in {0, 1} else value
            for name, flag, value in zip(columns, flags, row, strict=True)
        }
        for row in found
    ]


def _checked(before: ChainHead, entries: list[_Row]) -> ChainHead:
    """Return the last of some entries, whose hashes were computed again.

    Raises:
        LedgerCorrupt: at the first entry that is missing or was altered.
    """
    for entry in entries:
        sequence, canonical, hash_ = entry["sequence"], entry["canonical"], entry["hash"]
        if not (isinstance(canonical, str) and isinstance(hash_, bytes)):  # SQLite allows other types
            raise LedgerCorrupt(f"entry {sequence}: a value has the wrong type")
        if sequence != before.sequence + 1:
            raise LedgerCorrupt(
                f"the source is damaged: entry {sequence} follows entry {before.sequence}; expected no gaps"
            )
        if codec.chain_hash(before.hash, canonical) != hash_:
            raise LedgerCorrupt(f"the source is damaged: entry {sequence} or the one before it was altered")
        before = ChainHead(sequence, hash_)
    return before


def set_identity(connection: Connection, identity: Identity) -> None:
    """Replace the identity of a ledger."""
    text = "UPDATE ledger SET ledger_id = :ledger_id, epoch = :epoch"
    sql.rows(connection, text, ledger_id=identity.ledger_id, epoch=identity.epoch)


def new_epoch() -> str:
    """Return an epoch that no ledger has: 16 random hexadecimal digits."""
    return secrets.token_hex(8)


@contextmanager
def open_target(url: str, source: Backend) -> Iterator[Backend]:
    """Open the ledger at a URL to copy another to it, and create it if there is none.

    Raises:
        InvalidLedgerUrl: if the URL names no database that can hold a ledger.
        LedgerError: if it cannot be opened, or has no space for the source.
    """
    backend = new_backend(url, patient=True)
    try:
        backend.open(make=True)
        check_space(source.size_bytes() - backend.size_bytes(), backend.free_bytes())
        yield backend
    finally:
        backend.close()


def check_space(size: int, free: int | None) -> None:
    """Raise LedgerUnavailable if there is too little space for a copy, given its size and the free bytes, if known."""
    needed = size + MARGIN_BYTES
    if free is not None and free < needed:
        raise LedgerUnavailable(
            f"no space for the copy: it takes {-(-needed // 2**20):,} MiB, and the disk has {mebibytes_left(free)} MiB "
            "left"
        )
