"""Copies a SQLite ledger into a new file, as of one moment, while others write to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from dejavu_common.files import sync
from dejavu_ledger.database.sqlite.engine import connect, database_errors
from dejavu_ledger.errors import LedgerUnavailable


def copy_file(source: Path, target: Path) -> None:
    """Copy a database into an empty file, as of now, however much is written meanwhile.

    Raises:
        LedgerError: if the source is damaged, or the target's disk is full.
    """
    access = "mode=rw" if os.access(source.parent, os.W_OK) else "mode=ro&immutable=1"
    with database_errors(), closing(connect(source, access)) as connection:
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
    with database_errors(), closing(connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()
