"""Copies a SQLite ledger page by page, as of one moment, while others write to it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Final
from urllib.parse import quote

from dejavu_common.files import sync
from dejavu_ledger.database.sqlite.engine import BUSY_SECONDS, from_driver
from dejavu_ledger.errors import LedgerUnavailable

PAGES: Final = 2048
"""Pages that are copied between two reports: 8 MiB."""


def copy_pages(source: Path, target: Path, report: Callable[[int, int], None] = lambda _done, _all: None) -> None:
    """Copy a database into an empty file.

    The copy is the database as of the beginning, however much is written meanwhile: the source is read in one
    transaction. See `make_single_file`.

    Args:
        source: a database in WAL mode, or one that nothing writes to.
        target: an empty file.
        report: called with the number of pages copied, and the number of all pages.

    Raises:
        LedgerError: if the source is damaged, or the target's disk is full.
    """
    try:
        with (
            closing(_connection(source, "rw" if os.access(source.parent, os.W_OK) else "ro&immutable=1")) as reading,
            closing(_connection(target, "rw")) as writing,
        ):
            # An open read transaction keeps the backup on one state; without it, each write would restart it.
            reading.execute("BEGIN")
            reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
            reading.backup(
                writing, pages=PAGES, progress=lambda _status, remaining, total: report(total - remaining, total)
            )
            reading.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise from_driver(error) from error


def _connection(path: Path, access: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path))}?mode={access}"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


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
    _check_free(path)
    temporary = path.with_name(f".{path.name}.part")
    lock = _lock(temporary)
    try:
        os.ftruncate(lock, 0)
        _remove_beside(temporary)
        yield temporary
        sync(temporary)
        try:
            os.link(temporary, path)  # unlike a rename, it fails if the name was taken meanwhile
        except FileExistsError:
            _check_free(path)
            raise
    finally:
        _remove_beside(temporary)
        temporary.unlink(missing_ok=True)
        os.close(lock)
    sync(path.parent)


def _check_free(path: Path) -> None:
    for suffix in ("", "-wal", "-journal"):  # SQLite would take the log of another database for that of the new one
        if os.path.lexists(f"{path}{suffix}"):
            raise FileExistsError(f"{path}{suffix} already exists; expected a name that is free")


def _lock(path: Path) -> int:
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


def make_single_file(path: Path) -> None:
    """Write the write-ahead log of a closed database into it, and leave it without one."""
    try:
        with closing(_connection(path, "rw")) as connection:
            connection.execute("PRAGMA journal_mode=DELETE").fetchone()
    except sqlite3.Error as error:
        raise from_driver(error) from error
