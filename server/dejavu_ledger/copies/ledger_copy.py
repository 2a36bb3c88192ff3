"""Copies a ledger to another database, entry by entry, and checks the copy row by row.

The content of the target shows the progress: an interrupted copy continues after the target's newest entry. Until it
is complete, the target has an epoch of its own. So if a server is started on half a copy, resume tokens of the source
expire there with a reason, and no stream skips missing entries.

Rows of the index are copied, not derived: `audit.verification` derives all of them again from the entries of the copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple

from dejavu_ledger.audit.entry_times import CLOCK_TOLERANCE
from dejavu_ledger.audit.verification import verify_backend
from dejavu_ledger.copies import stored_rows
from dejavu_ledger.database import store
from dejavu_ledger.database.backend import Backend, Connection
from dejavu_ledger.database.store import ChainHead, Identity
from dejavu_ledger.entries import codec
from dejavu_ledger.errors import LedgerCorrupt, LedgerError

_COMPARED_AT_ONCE = 2000


class TargetRefused(LedgerError, reason="TARGET_REFUSED"):
    """The target of a copy or restore is in use for something else."""


class StepProgress(NamedTuple):
    """Progress of a copy.

    Attributes:
        step: current step: copying, comparing or verifying.
        sequence: the last entry that was copied, compared or verified.
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
        sequence: sequence of the last entry that was copied.
        hash: its hash, in hexadecimal.
        entries: entries of the copy.
        added: entries that this run has added; the others were there before.
    """

    ledger_id: str
    epoch: str
    sequence: int
    hash: str
    entries: int
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
        LedgerCorrupt: if the source is damaged, or the copy is not equal to it. Copied entries stay there.
        LedgerUnavailable: if one of them cannot be read or written.
    """
    copy = _Copy(source, target, epoch, report)
    copy.begin()
    copy.catch_up()
    copy.compare()
    while not copy.replace_summaries():
        copy.catch_up()
        copy.compare()
    report(StepProgress("verifying", copy.at.sequence, copy.at.sequence))
    verify_backend(target, clock_tolerance=clock_tolerance)
    while not copy.finish():
        copy.catch_up()
        copy.compare()
    report(StepProgress("done", copy.at.sequence, copy.at.sequence))
    return CopiedLedger(
        ledger_id=copy.identity.ledger_id,
        epoch=copy.epoch,
        sequence=copy.at.sequence,
        hash=copy.at.hash.hex(),
        entries=copy.at.sequence,
        added=copy.at.sequence - copy.started_at,
    )


class _Copy:
    """One run of a copy.

    Attributes:
        identity: identity of the source.
        epoch: epoch of the complete copy.
        at: the last entry that the target holds.
        started_at: sequence of the last entry that the target held when the run began.
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
        self.started_at = self.at.sequence
        self._compared = self.at.sequence

    def begin(self) -> None:
        """Check the target, and mark it as incomplete unless it has everything already."""
        with self._target.write() as connection:
            empty = stored_rows.is_empty(connection)
            if empty:
                stored_rows.set_identity(connection, replace(self.identity, epoch=stored_rows.new_epoch()))
        if empty:
            self._target.open(make=False)  # it is another ledger now
            return
        with self._target.write() as connection:
            held = store.identity(connection)
            self.at = store.head(connection)
            self._check_prefix(held)
            self.started_at = self.at.sequence
            if self.at.sequence < self._head.sequence and held.epoch in {self.identity.epoch, self.epoch}:
                stored_rows.set_identity(connection, replace(held, epoch=stored_rows.new_epoch()))

    def _check_prefix(self, held: Identity) -> None:
        mine = self.identity
        if held.ledger_id != mine.ledger_id:
            raise TargetRefused(
                f"the target holds another ledger, {held.ledger_id}; expected an empty one, or the beginning of "
                f"{mine.ledger_id}"
            )
        with self._source.read() as connection:
            in_source = not self.at.sequence or stored_rows.hash_at(connection, self.at.sequence) == self.at.hash
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
                page = stored_rows.entries_after(connection, self.at.sequence, self._head.sequence)
                if not page:
                    return
                rows = stored_rows.rows_between(connection, self.at.sequence, page[-1].sequence)
            last = _checked(self.at, page)
            with self._target.write() as connection:
                if store.head(connection) != self.at:
                    raise TargetRefused("something else was recorded in the target while it was being copied to")
                stored_rows.add(connection, rows)
            self.at = last
            self._report(StepProgress("copying", self.at.sequence, self._head.sequence))

    def compare(self) -> None:
        """Compare the rows of all entries that were not compared yet with those of the source."""
        while self._compared < self.at.sequence:
            through = min(self._compared + _COMPARED_AT_ONCE, self.at.sequence)
            with self._source.read() as connection:
                mine = stored_rows.rows_between(connection, self._compared, through)
            with self._target.read() as connection:
                other = stored_rows.rows_between(connection, self._compared, through)
            differs = stored_rows.difference(mine, other)
            if differs is not None:
                raise LedgerCorrupt(f"the copy is not equal to the source: {differs} differs")
            self._compared = through
            self._report(StepProgress("comparing", through, self.at.sequence))

    def replace_summaries(self) -> bool:
        """Copy checkpoints and snapshots; return False if entries were added since: the summaries may then be newer."""
        with self._source.read() as source, store.snapshot_read(source):
            if store.head(source) != self.at:
                return False
            with self._target.write() as target:
                stored_rows.replace_summaries(source, target, self.at.sequence)
        return True

    def finish(self) -> bool:
        """Copy checkpoints and snapshots and give the copy its epoch; return False if entries were added since."""
        with self._source.read() as source, store.snapshot_read(source):
            if store.head(source) != self.at:
                return False
            if store.identity(source) != self.identity:
                raise TargetRefused("the source was restored while it was copied; copy to an empty target")
            with self._target.write() as target:
                stored_rows.replace_summaries(source, target, self.at.sequence)
                self._check_summaries(source, target)
                stored_rows.set_identity(target, replace(self.identity, epoch=self.epoch))
        self._target.notify()
        return True

    def _check_summaries(self, source: Connection, target: Connection) -> None:
        differs = stored_rows.summaries_differ(source, target, self.at.sequence)
        if differs is not None:
            raise LedgerCorrupt(f"the copy is not equal to the source: {differs} differ")


def _checked(before: ChainHead, page: list[stored_rows.Entry]) -> ChainHead:
    """Return the last entry of a page, whose hashes were computed again.

    Raises:
        LedgerCorrupt: at the first entry that is missing or was altered.
    """
    for entry in page:
        if entry.sequence != before.sequence + 1:
            raise LedgerCorrupt(
                f"the source is damaged: entry {entry.sequence} follows entry {before.sequence}; expected no gaps"
            )
        if codec.chain_hash(before.hash, entry.canonical) != entry.hash:
            raise LedgerCorrupt(f"the source is damaged: entry {entry.sequence} or the one before it was altered")
        before = ChainHead(entry.sequence, entry.hash)
    return before
