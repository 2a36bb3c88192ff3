"""Opens the source and the target of a ledger copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dejavu_ledger.database.backend import Backend
from dejavu_ledger.database.backends import new_backend, read_only_ledger
from dejavu_ledger.database.sqlite.engine import database_path
from dejavu_ledger.errors import LedgerUnavailable, mebibytes_left
from dejavu_ledger.url import is_postgres

MARGIN_BYTES = 4 * 1024 * 1024
"""Free space to leave during a copy: a server on the same disk records meanwhile."""


@contextmanager
def open_source(url: str) -> Iterator[Backend]:
    """Open a ledger to read it, while servers may record in it; create nothing.

    Raises:
        InvalidLedgerUrl: if the URL names no database that can hold a ledger.
        LedgerError: if it cannot be read as a ledger of this release.
    """
    with read_only_ledger(url) as backend:
        yield backend


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
        check_space(source, backend)
        yield backend
    finally:
        backend.close()


def same_database(first: str, second: str) -> bool:
    """Return whether two URLs name one database; two names of one PostgreSQL server are not recognized."""
    if is_postgres(first) or is_postgres(second):
        return first == second
    paths = database_path(first), database_path(second)
    return paths[0] == paths[1] or (all(path.exists() for path in paths) and paths[0].samefile(paths[1]))


def check_space(source: Backend, target: Backend) -> None:
    """Raise LedgerUnavailable if a database has too little space for the content of another one."""
    needed, free = source.size_bytes() - target.size_bytes() + MARGIN_BYTES, target.free_bytes()
    if free is not None and free < needed:
        raise too_small(needed, free)


def too_small(needed: int, free: int) -> LedgerUnavailable:
    """Return the error of a copy for which there is no space, given the needed and the free bytes."""
    return LedgerUnavailable(
        f"no space for the copy: it takes {-(-needed // 2**20):,} MiB, and the disk has {mebibytes_left(free)} MiB left"
    )
