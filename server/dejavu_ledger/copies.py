"""Backs up, restores and copies whole ledgers, while servers run: the only code that copies entries.

A backup is itself a SQLite ledger: the same entries, rows, checkpoints and identity. It is verified before it gets its
name, so a file with that name is complete and sound.

A copy goes entry by entry with the rows derived from each. The content of the target shows the progress: an interrupted
copy continues after the target's newest entry. Until it is complete, the target has an epoch of its own. So if a server
is started on half a copy, resume tokens of the source expire there with a reason, and no stream skips missing entries.
The chain of the entries is checked while they are read, and `audit.verification` derives all rows of the copy again.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from fcntl import LOCK_EX, LOCK_NB, flock
from functools import reduce
from pathlib import Path
from typing import Final, NamedTuple

from dejavu_common.files import sync
from dejavu_ledger.audit.chain import DERIVED, next_head, stored_pages, stored_rows
from dejavu_ledger.audit.checkpoints import CLOCK_TOLERANCE
from dejavu_ledger.audit.verification import Verification, verify
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Backend, Connection
from dejavu_ledger.database.backends import new_backend, read_only_ledger
from dejavu_ledger.database.sqlite_engine import connect, database_errors, database_path, file_bytes, free_bytes
from dejavu_ledger.database.store import Identity
from dejavu_ledger.errors import LedgerError, LedgerUnavailable, mebibytes_left
from dejavu_ledger.settling import settle
from dejavu_ledger.url import file_url, is_postgres

_MARGIN_BYTES: Final = 4 * 1024 * 1024
"""Free space to leave during a copy: a server on the same disk records meanwhile."""

_SUMMARIES: Final = ("checkpoints", "snapshots")
"""Tables whose rows summarize all entries up to a sequence."""

_SUMMARIZED: Final = "SELECT sequence FROM checkpoints UNION ALL SELECT sequence FROM snapshots LIMIT 1"

_MARKED: Final = {
    "forecasts": "SELECT sequence, hindsight FROM forecasts WHERE game_id IN :games AND hindsight IS NOT NULL",
    "markets": """
        SELECT m.sequence, m.hindsight FROM forecasts f JOIN markets m ON m.forecast_sequence = f.sequence
        WHERE f.game_id IN :games AND m.hindsight IS NOT NULL
    """,
}
"""Rows of games that were marked as hindsight, by entries after their own."""

_MARK: Final = "UPDATE TABLE SET hindsight = :hindsight WHERE sequence = :sequence"


class TargetRefused(LedgerError, reason="TARGET_REFUSED"):
    """The target of a copy or restore is in use for something else."""


class StepProgress(NamedTuple):
    """Progress of a copy.

    Attributes:
        step: current step: copying, verifying or done.
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
    while not copy.summarize():
        copy.catch_up()
    report(StepProgress("verifying", copy.at.sequence, copy.at.sequence))
    verify(target, clock_tolerance=clock_tolerance)
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
                _set_identity(connection, replace(self.identity, epoch=_new_epoch()))
            else:
                self.at = at
                self._check_prefix(held)
                if at.sequence < self._head.sequence and held.epoch in {self.identity.epoch, self.epoch}:
                    _set_identity(connection, replace(held, epoch=_new_epoch()))
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
            in_source = store.entry_at(connection, self.at.sequence) == self.at
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
                after, through = self.at.sequence, self._head.sequence
                entries = next(stored_pages(connection, "entries", after=after, through=through), [])
                last = reduce(next_head, entries, self.at)
                derived = {
                    table: stored_rows(connection, table, after=after, through=last.sequence)
                    for table in DERIVED.values()
                }
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
                    # A snapshot may have a megabyte.
                    for rows in stored_pages(source, table, through=self.at.sequence, size=50):
                        sql.insert(target, table, rows)
                if complete:
                    _set_identity(target, replace(self.identity, epoch=self.epoch))
        return True


def _set_identity(connection: Connection, identity: Identity) -> None:
    """Replace the identity of a ledger."""
    text = "UPDATE ledger SET ledger_id = :ledger_id, epoch = :epoch"
    sql.rows(connection, text, ledger_id=identity.ledger_id, epoch=identity.epoch)


def _new_epoch() -> str:
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
        _check_space(source.size_bytes() - backend.size_bytes(), backend.free_bytes())
        yield backend
    finally:
        backend.close()


def _check_space(size: int, free: int | None) -> None:
    """Raise LedgerUnavailable if there is too little space for a copy, given its size and the free bytes, if known."""
    needed = size + _MARGIN_BYTES
    if free is not None and free < needed:
        raise LedgerUnavailable(
            f"no space for the copy: it takes {-(-needed // 2**20):,} MiB, and the disk has {mebibytes_left(free)} MiB "
            "left"
        )


def back_up(
    url: str, path: Path, report: Report = lambda _: None, clock_tolerance: timedelta = CLOCK_TOLERANCE
) -> Verification:
    """Write a ledger, as of now, to a new file.

    Args:
        url: the ledger; servers may record in it.
        path: the file; its folder exists.
        report: called while it is copied.
        clock_tolerance: see `verify`.

    Returns:
        Content of the backup.

    Raises:
        InvalidLedgerUrl: if the URL names no database that can hold a ledger.
        FileExistsError: if the file exists.
        LedgerError: if the ledger cannot be read, is damaged, or there is no space for its copy.
        OSError: if the file cannot be written.
    """
    with _copied(url, path.resolve(), report, clock_tolerance) as new:
        return verify(new, clock_tolerance=clock_tolerance)


def restore(
    path: Path, url: str, report: Report = lambda _: None, clock_tolerance: timedelta = CLOCK_TOLERANCE
) -> CopiedLedger:
    """Write the ledger of a backup to a new ledger, with a new epoch.

    The new epoch makes all resume tokens of the old ledger expire, also those that a server still hands out. Entries
    after the backup are not in the new ledger, and other entries will get their sequences.

    Args:
        path: the backup.
        url: the new ledger: it must not exist, or be empty, or be left by an interrupted restore.
        report: called while it is copied.
        clock_tolerance: see `verify`.

    Raises:
        InvalidLedgerUrl: if the URL names no database that can hold a ledger.
        TargetRefused: if the ledger contains something else.
        LedgerError: if the backup is damaged or cannot be read, or there is no space.
        OSError: if the file cannot be read or written.
    """
    backup = file_url(path)
    report(StepProgress("verifying", 0, 0))
    verify(backup, clock_tolerance=clock_tolerance)
    file = None if is_postgres(url) else database_path(url)
    if file is None or file_bytes(file):
        with read_only_ledger(backup) as source, open_target(url, source) as target:
            return copy_ledger(source, target, epoch=_new_epoch(), report=report, clock_tolerance=clock_tolerance)
    # Servers that look for their ledger find all of it.
    file.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _copied(backup, file, report, clock_tolerance) as new:
        epoch = renew_epoch(new)
        found = verify(new, clock_tolerance=clock_tolerance)
    return CopiedLedger(found.ledger_id, epoch, found.sequence, found.hash, added=found.sequence)


@contextmanager
def _copied(url: str, path: Path, report: Report, clock_tolerance: timedelta) -> Iterator[str]:
    """Yield the URL of a copy of a ledger, in a file that gets its path at the end of the block."""
    with read_only_ledger(url) as source, new_ledger_file(path) as new:
        if is_postgres(url):
            with open_target(file_url(new), source) as target:
                copy_ledger(source, target, report=report, clock_tolerance=clock_tolerance)
        else:
            _check_space(source.size_bytes(), free_bytes(new))
            report(StepProgress("copying", 0, 0))
            _copy_file(database_path(url), new)
        report(StepProgress("verifying", 0, 0))
        yield file_url(new)
        _make_single_file(new)


def renew_epoch(url: str) -> str:
    """Give a ledger a new epoch, after its database was restored by other means; return it.

    Raises:
        InvalidLedgerUrl, LedgerError: if it is no ledger, or cannot be written.
    """
    epoch = _new_epoch()
    with closing(new_backend(url, patient=True)) as backend:
        backend.open(make=False)
        with backend.write() as connection:
            _set_identity(connection, replace(store.identity(connection), epoch=epoch))
    return epoch


def _copy_file(source: Path, target: Path) -> None:
    """Copy a database into an empty file, as of now, however much is written meanwhile.

    Raises:
        LedgerError: if the source is damaged, or the target's disk is full.
    """
    immutable = not os.access(source.parent, os.W_OK)
    with database_errors(), closing(connect(source, immutable=immutable)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))


@contextmanager
def new_ledger_file(path: Path) -> Iterator[Path]:
    """Yield a temporary file in the folder of a path, to write a ledger to; rename it at the end of the block.

    The file has mode 0600. It is synced before it gets its name, and nothing that has the name is ever replaced. After
    an error it is removed; one that is left by a process that was killed is overwritten by the next.

    Args:
        path: path of the new ledger; its folder exists.

    Raises:
        FileExistsError: if there is something at the path.
        LedgerUnavailable: if another process writes there at this moment.
        OSError: if the file cannot be written.
    """
    _check_free_name(path)
    temporary = path.with_name(f".{path.name}.part")
    lock = _locked_file(temporary)
    try:
        os.ftruncate(lock, 0)
        _remove_beside(temporary)
        yield temporary
        sync(temporary)
        try:
            os.link(temporary, path)  # unlike a rename, it fails if the name was taken meanwhile
        except FileExistsError:
            _check_free_name(path)
            raise
    finally:
        _remove_beside(temporary)
        temporary.unlink(missing_ok=True)
        os.close(lock)
    sync(path.parent)


def _check_free_name(path: Path) -> None:
    for suffix in ("", "-wal", "-journal"):  # SQLite would take the log of another database for that of the new one
        if os.path.lexists(f"{path}{suffix}"):
            raise FileExistsError(f"{path}{suffix} already exists; expected a name that is free")


def _locked_file(path: Path) -> int:
    """Create a file unless it exists, and lock it for this process; return its descriptor."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise LedgerUnavailable(f"another process is writing {path} at this moment") from None
        except FileNotFoundError:
            pass  # removed by the process that had it locked
        os.close(descriptor)


def _remove_beside(path: Path) -> None:
    """Remove SQLite's companion files of a database."""
    for suffix in ("-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _make_single_file(path: Path) -> None:
    """Write the write-ahead log of a closed database into it, and leave it without one."""
    with database_errors(), closing(connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()
