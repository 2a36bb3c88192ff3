"""The backend that the URL of a ledger names. PostgreSQL's is imported only if it is used: its driver is an extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dejavu_common.build import install
from dejavu_ledger.database.backend import Backend, Durability
from dejavu_ledger.database.sqlite import SqliteBackend
from dejavu_ledger.database.sqlite_engine import database_path
from dejavu_ledger.errors import InvalidLedgerUrl
from dejavu_ledger.url import is_postgres

if TYPE_CHECKING:
    from dejavu_ledger.database.postgres import PostgresBackend


def _postgres() -> type[PostgresBackend]:
    try:
        from dejavu_ledger.database.postgres import PostgresBackend  # noqa: PLC0415 - see above
    except ImportError as error:
        raise InvalidLedgerUrl(f"PostgreSQL needs its driver: {install('server,postgres')}") from error
    return PostgresBackend


def new_backend(url: str, durability: Durability = Durability.PROCESS, *, patient: bool = False) -> Backend:
    """Return the backend of a ledger, not opened yet.

    Args:
        url: URL of the ledger.
        durability: durability of a committed transaction.
        patient: whether to wait minutes for an answer of the database, for a command that goes through a whole ledger.

    Raises:
        InvalidLedgerUrl: if the URL cannot name a ledger, or the driver of its database is not installed.
    """
    if not is_postgres(url):
        return SqliteBackend(url, durability)
    postgres = _postgres()
    return postgres(url, durability, answer_seconds=postgres.OFFLINE_SECONDS) if patient else postgres(url, durability)


@contextmanager
def read_only_ledger(url: str) -> Iterator[Backend]:
    """Open the ledger at a URL to read it, also while a server uses it; create nothing.

    Raises:
        InvalidLedgerUrl, LedgerSchemaError, LedgerUnavailable: if it cannot be read as a ledger of this release.
    """
    with _postgres().read_only(url) if is_postgres(url) else SqliteBackend.read_only(url) as backend:
        yield backend


def folder_of(url: str) -> Path | None:
    """Return the folder of a ledger in a file; None for one in a database server.

    Raises:
        InvalidLedgerUrl: if the URL cannot name a ledger.
    """
    return None if is_postgres(url) else database_path(url).parent


def same_database(first: str, second: str) -> bool:
    """Return whether two URLs name one database; two names of one PostgreSQL server are not recognized."""
    if is_postgres(first) or is_postgres(second):
        return first == second
    paths = database_path(first), database_path(second)
    return paths[0] == paths[1] or (all(path.exists() for path in paths) and paths[0].samefile(paths[1]))


def check_url(url: str) -> None:
    """Check a URL as far as possible without a connection.

    Raises:
        InvalidLedgerUrl: if it cannot name a ledger, or the driver of its database is not installed.
    """
    new_backend(url).close()
