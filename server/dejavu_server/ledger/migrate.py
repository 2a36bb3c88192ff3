"""Brings a database to the schema that this release knows, whoever else is doing the same at the moment."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect

from dejavu_server.ledger.errors import LedgerSchemaError, LedgerUnavailable

LOCK_SECONDS = 10.0
"""How long to wait while other processes prepare ledgers in the same folder, each of which takes a fraction of one."""

_LOOK_SECONDS = 0.01


def prepare(engine: Engine, path: Path, *, make: bool = True) -> None:
    """Creates the database or migrates it to the newest schema; at once where there is nothing to do.

    All in one transaction: whatever fails, the database is then what it was, or an empty file.

    Args:
        engine: an engine that writes to `path`.
        path: the database; its folder exists.
        make: whether to make a ledger where there is none.

    Raises:
        LedgerSchemaError: if the database was written by a later release, or is not a ledger.
        LedgerUnavailable: if there is no ledger and none is to be made, or others hold the folder for too long.
        OSError: if the folder or the file can't be used.
        sqlalchemy.exc.SQLAlchemyError: if the database fails.
    """
    config = _config()
    # The first connection switches the database to WAL, which needs it alone and can't wait for that: hence the lock.
    with _only_here(path.parent):
        if make and not path.exists():
            path.touch()  # to SQLite an empty file is an empty database
        with engine.begin() as connection:
            if not is_older(connection):
                return
            if not make and not inspect(connection).get_table_names():
                raise LedgerUnavailable("the ledger is gone: an empty file lies in its place")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def is_older(connection: Connection) -> bool:
    """Whether the database has an older schema than this release writes, or none at all yet.

    Raises:
        LedgerSchemaError: if it is neither older nor of this release.
    """
    scripts = ScriptDirectory.from_config(_config())
    found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        if inspect(connection).get_table_names():
            raise LedgerSchemaError("the database is not a ledger: it holds tables of something else")
        return True
    if found not in {script.revision for script in scripts.walk_revisions()}:
        raise LedgerSchemaError(
            f"the database has schema {found!r}, which this release does not know; "
            f"it knows up to {scripts.get_current_head()!r}"
        )
    return found != scripts.get_current_head()


def _config() -> Config:
    config = Config()
    # A path's % would be taken for the start of a substitution.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _only_here(folder: Path) -> Iterator[None]:
    """Lets one process at a time prepare ledgers in a folder; the lock ends with the process that holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    until = time.monotonic() + LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise LedgerUnavailable("the ledger is being prepared by another process for too long") from None
                time.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)
