"""Backs up a ledger to one file, and restores a ledger from such a file, each while servers run.

A backup is itself a SQLite ledger: the same entries, rows, checkpoints and identity. It is verified before it gets its
name, so a file with that name is complete and sound.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from dejavu_ledger.audit.entry_times import CLOCK_TOLERANCE
from dejavu_ledger.audit.verification import Verification, verify
from dejavu_ledger.copies import stored_rows
from dejavu_ledger.copies.databases import MARGIN_BYTES, open_source, open_target, too_small
from dejavu_ledger.copies.ledger_copy import CopiedLedger, Report, StepProgress, copy_ledger
from dejavu_ledger.database.backend import Backend
from dejavu_ledger.database.backends import new_backend
from dejavu_ledger.database.sqlite.backend import SqliteBackend
from dejavu_ledger.database.sqlite.backup import copy_pages, make_single_file, new_ledger_file
from dejavu_ledger.database.sqlite.engine import database_path, file_bytes, free_bytes
from dejavu_ledger.database.store import identity
from dejavu_ledger.url import is_postgres


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
    return _write_ledger(url, path.resolve(), report, clock_tolerance)


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
    backup = f"sqlite:///{path.resolve()}"
    epoch = stored_rows.new_epoch()
    report(StepProgress("verifying", 0, 0))
    verify(backup, clock_tolerance=clock_tolerance)
    target = None if is_postgres(url) else database_path(url)
    if target is None or file_bytes(target):
        with open_source(backup) as source, open_target(url, source) as backend:
            return copy_ledger(source, backend, epoch=epoch, report=report, clock_tolerance=clock_tolerance)
    target.unlink(missing_ok=True)  # an empty file is not a ledger
    target.parent.mkdir(parents=True, exist_ok=True)
    found = _write_ledger(backup, target, report, clock_tolerance, change=lambda backend: _set_epoch(backend, epoch))
    return CopiedLedger(found.ledger_id, epoch, found.sequence, found.hash, found.entries, found.entries)


def _write_ledger(
    url: str,
    path: Path,
    report: Report,
    clock_tolerance: timedelta,
    change: Callable[[SqliteBackend], None] | None = None,
) -> Verification:
    with open_source(url) as source, new_ledger_file(path) as new:
        needed, free = source.size_bytes() + MARGIN_BYTES, free_bytes(path)
        if free is not None and free < needed:
            raise too_small(needed, free)
        if is_postgres(url):
            with closing(SqliteBackend(f"sqlite:///{new}")) as target:
                target.open(make=True)
                copy_ledger(source, target, report=report, clock_tolerance=clock_tolerance)
        else:
            copy_pages(database_path(url), new, lambda done, pages: report(StepProgress("copying pages", done, pages)))
        if change is not None:
            with closing(SqliteBackend(f"sqlite:///{new}")) as target:
                target.open(make=False)
                change(target)
        make_single_file(new)
        report(StepProgress("verifying", 0, 0))
        return verify(f"sqlite:///{new}", clock_tolerance=clock_tolerance)


def renew_epoch(url: str) -> str:
    """Give a ledger a new epoch, after its database was restored by other means; return it.

    Raises:
        InvalidLedgerUrl, LedgerError: if it is no ledger, or cannot be written.
    """
    epoch = stored_rows.new_epoch()
    with closing(new_backend(url, patient=True)) as backend:
        backend.open(make=False)
        _set_epoch(backend, epoch)
    return epoch


def _set_epoch(backend: Backend, epoch: str) -> None:
    with backend.write() as connection:
        stored_rows.set_identity(connection, replace(identity(connection), epoch=epoch))
