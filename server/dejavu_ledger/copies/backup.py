"""Backs up a ledger to one file, and restores a ledger from such a file, each while servers run.

A backup is itself a SQLite ledger: the same entries, rows, checkpoints and identity. It is verified before it gets its
name, so a file with that name is complete and sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from dejavu_ledger.audit.entry_times import CLOCK_TOLERANCE
from dejavu_ledger.audit.verification import Verification, verify
from dejavu_ledger.copies.ledger_copy import (
    CopiedLedger,
    Report,
    StepProgress,
    check_space,
    copy_ledger,
    new_epoch,
    open_target,
    set_identity,
)
from dejavu_ledger.database.backends import new_backend, read_only_ledger
from dejavu_ledger.database.sqlite.backend import SqliteBackend
from dejavu_ledger.database.sqlite.backup import copy_file, make_single_file, new_ledger_file
from dejavu_ledger.database.sqlite.engine import database_path, file_bytes, free_bytes
from dejavu_ledger.database.store import identity
from dejavu_ledger.url import file_url, is_postgres


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
            return copy_ledger(source, target, epoch=new_epoch(), report=report, clock_tolerance=clock_tolerance)
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
        check_space(source.size_bytes(), free_bytes(new))
        if is_postgres(url):
            with closing(SqliteBackend(file_url(new))) as target:
                target.open(make=True)
                copy_ledger(source, target, report=report, clock_tolerance=clock_tolerance)
        else:
            report(StepProgress("copying", 0, 0))
            copy_file(database_path(url), new)
        report(StepProgress("verifying", 0, 0))
        yield file_url(new)
        make_single_file(new)


def renew_epoch(url: str) -> str:
    """Give a ledger a new epoch, after its database was restored by other means; return it.

    Raises:
        InvalidLedgerUrl, LedgerError: if it is no ledger, or cannot be written.
    """
    epoch = new_epoch()
    with closing(new_backend(url, patient=True)) as backend:
        backend.open(make=False)
        with backend.write() as connection:
            set_identity(connection, replace(identity(connection), epoch=epoch))
    return epoch
