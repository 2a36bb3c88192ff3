"""Direct access to a ledger's file: its rows, and copies to tamper with."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.builders import full_ledger

from dejavu_server.ledger import Ledger
from dejavu_server.ledger.audit.signing_key import key_path
from dejavu_server.ledger.database.schema import metadata
from dejavu_server.records import Checkpoint

TABLES = (
    "alembic_version",
    "ledger",
    "entries",
    "forecasts",
    "outcomes",
    "markets",
    "settlements",
    "checkpoints",
    "snapshots",
)


@dataclass(frozen=True)
class Specimen:
    """A complete ledger, and the checkpoint that a client stored.

    Attributes:
        content: the bytes of its file.
        kept: checkpoint of the last entry.
        key: file of the signing key.
        folder: folder for copies.
        rows: its rows by table, each with its `rowid`.
    """

    content: bytes
    kept: Checkpoint
    key: Path
    folder: Path
    rows: Mapping[str, list[dict[str, Any]]]

    @classmethod
    def of(cls, path: Path, kept: Checkpoint, folder: Path) -> Specimen:
        """Reads the ledger at a path, which must not be open."""
        with closing(sqlite3.connect(path)) as database:
            return cls(path.read_bytes(), kept, key_path(f"sqlite:///{path}"), folder, rows(database))

    @contextmanager
    def copy(self, content: bytes | None = None) -> Iterator[tuple[str, sqlite3.Connection]]:
        """Yields the URL of a copy to tamper with, and a connection that ignores constraints."""
        path = self.folder / "copy.db"
        path.write_bytes(self.content if content is None else content)
        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as database:
                database.execute("PRAGMA ignore_check_constraints=ON")
                database.execute("PRAGMA journal_mode=MEMORY")
                yield f"sqlite:///{path}", database
        finally:
            for each in self.folder.glob("copy.db*"):
                each.unlink()


@contextmanager
def tampered(path: Path) -> Iterator[sqlite3.Connection]:
    """Yields a connection to the ledger at a path that ignores constraints; commits the changes at the end."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA ignore_check_constraints=ON")
        yield database


def full_specimen(folder: Path) -> Specimen:
    """Creates a ledger with rows in every table in a folder, with a subfolder for copies."""
    path = folder / "ledger.db"

    async def fill() -> Checkpoint:
        ledger = await Ledger.open(f"sqlite:///{path}")
        try:
            return await full_ledger.fill(ledger, path)
        finally:
            await ledger.close()

    checkpoint = asyncio.run(fill())
    (folder / "copies").mkdir()
    return Specimen.of(path, checkpoint, folder / "copies")


def rows(database: sqlite3.Connection) -> dict[str, list[dict[str, Any]]]:
    """Returns all rows of a ledger, by table, without the columns that the database computes."""
    by_table = dict[str, list[dict[str, Any]]]()
    for table in TABLES:
        cursor = database.execute(f"SELECT rowid AS rowid_, * FROM {table}")
        names = [name for name, *_ in cursor.description]
        columns = metadata.tables[table].columns if table in metadata.tables else ()
        computed = {column.name for column in columns if column.computed is not None}
        found = [dict(zip(names, row, strict=True)) for row in cursor]
        by_table[table] = [{name: row[name] for name in names if name not in computed} for row in found]
    return by_table
