"""The backend that the URL of a ledger names. PostgreSQL's is imported only if it is used: its driver is an extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dejavu_common.build import install
from dejavu_ledger.database.backend import Backend, Durability
from dejavu_ledger.database.sqlite import backend as sqlite
from dejavu_ledger.database.sqlite.engine import database_path
from dejavu_ledger.errors import InvalidLedgerUrl
from dejavu_ledger.url import is_postgres

_NO_DRIVER = f"PostgreSQL needs its driver: {install('server,postgres')}"


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
        return sqlite.SqliteBackend(url, durability)
    try:
        from dejavu_ledger.database.postgres import backend as postgres  # noqa: PLC0415 - see above
    except ImportError as error:
        raise InvalidLedgerUrl(_NO_DRIVER) from error
    if patient:
        return postgres.PostgresBackend(url, durability, answer_seconds=postgres.OFFLINE_SECONDS)
    return postgres.PostgresBackend(url, durability)


@contextmanager
def read_only_ledger(url: str) -> Iterator[Backend]:
    """Open the ledger at a URL to read it, also while a server uses it; create nothing.

    Raises:
        InvalidLedgerUrl, LedgerSchemaError, LedgerUnavailable: if it cannot be read as a ledger of this release.
    """
    if not is_postgres(url):
        with sqlite.read_only_ledger(url) as file:
            yield file
        return
    try:
        from dejavu_ledger.database.postgres import backend as postgres  # noqa: PLC0415 - see above
    except ImportError as error:
        raise InvalidLedgerUrl(_NO_DRIVER) from error
    with postgres.read_only_ledger(url) as database:
        yield database


def folder_of(url: str) -> Path | None:
    """Return the folder of a ledger in a file; None for one in a database server.

    Raises:
        InvalidLedgerUrl: if the URL cannot name a ledger.
    """
    return None if is_postgres(url) else database_path(url).parent


def check_url(url: str) -> None:
    """Check a URL as far as possible without a connection.

    Raises:
        InvalidLedgerUrl: if it cannot name a ledger, or the driver of its database is not installed.
    """
    new_backend(url).close()
