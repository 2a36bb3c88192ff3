"""Direct access to a ledger's file: its rows, copies to tamper with, and the type of a kind of tampering."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.builders import full_ledger

from dejavu_ledger import Ledger
from dejavu_ledger.audit.checkpoints import key_path
from dejavu_ledger.records import Checkpoint

DERIVED = ("forecasts", "outcomes", "markets", "shadows", "model_changes")
"""Tables with one row for each entry of a kind."""

TABLES = ("schema_version", "ledger", "entries", *DERIVED, "scores", "checkpoints", "snapshots")


CHECKS = {
    "file": "not a sound SQLite database",
    "schema": "schema version was changed|is not a ledger|this release knows",
    "chain": r"hash mismatch|no gaps|does not match the canonical form|not in canonical form|^entry \d+: a value has",
    "kind": "its kind is unknown",
    "rows": "the row in|has rows without",
    "time": "its time is",
    "hindsight": "with hindsight|marked as late|complete minutes at that moment",
    "revision": "revisions count from 0|changes nothing:|has no revisions|it withdraws",
    "answer": "the market's answer does not match|market needs an earlier forecast|the American form of decimal",
    "shadow": "the shadow (needs|is of)",
    "models": "of models is not possible|changes nothing of the models|another champion",
    "choice": "its model was chosen by|was the champion",
    "own checkpoints": "the ledger's (own )?checkpoint",
    "kept checkpoint": "that was signed$|entries were removed: the ledger ends|was restored|of another ledger",
    "snapshot": "snapshot",
    "identity": "identity",
}
"""Name of a check → regular expression of its messages."""

_Do = Callable[[sqlite3.Connection, Path], object]


@dataclass(frozen=True)
class Tampering:
    """A kind of tampering.

    Attributes:
        place: table, or `schema`.
        what: what is changed; with the place it names the kind.
        do: changes the ledger on a connection; the path is that of the signing key.
        alone: the check that finds it without a kept checkpoint; None if none does.
        held: the check that finds it with the checkpoint that a client kept; None if none does.
    """

    place: str
    what: str
    do: _Do
    alone: str | None
    held: str | None

    @property
    def row(self) -> str:
        """The row of the table in the documentation."""
        return f"| {self.place} | {self.what} | {self.alone or 'not found'} | {self.held or 'not found'} |"


class Kinds(list[Tampering]):
    """Kinds of tampering; each is added with its change and the checks that find it. `held=""`: the same as `alone`."""

    def sql(self, place: str, what: str, statements: str, alone: str | None, held: str | None = "") -> None:
        """Add a kind that is SQL statements."""
        self.step(place, what, alone, held)(lambda database, _: database.executescript(statements))

    def step(self, place: str, what: str, alone: str | None, held: str | None = "") -> Callable[[_Do], None]:
        """Add a kind that is a function of a connection and of the path of the signing key."""
        return lambda do: self.append(Tampering(place, what, do, alone, alone if held == "" else held))


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

    @contextmanager
    def copy(self) -> Iterator[tuple[str, sqlite3.Connection]]:
        """Yield the URL of a copy to tamper with, and a connection that ignores constraints."""
        path = self.folder / "copy.db"
        path.write_bytes(self.content)
        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as database:
                database.execute("PRAGMA ignore_check_constraints=ON")
                database.execute("PRAGMA journal_mode=MEMORY")
                yield f"sqlite:///{path}", database
        finally:
            for each in self.folder.glob("copy.db*"):
                each.unlink()


def full_specimen(folder: Path) -> Specimen:
    """Create a ledger with rows in every table in a folder, with a subfolder for copies."""
    path = folder / "ledger.db"

    async def fill() -> Checkpoint:
        ledger = await Ledger.open(f"sqlite:///{path}")
        try:
            return await full_ledger.fill(ledger, path)
        finally:
            await ledger.close()

    checkpoint = asyncio.run(fill())
    (folder / "copies").mkdir()
    with closing(sqlite3.connect(path)) as database:
        return Specimen(path.read_bytes(), checkpoint, key_path(f"sqlite:///{path}"), folder / "copies", rows(database))


def rows(database: sqlite3.Connection) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of a ledger, by table."""
    by_table = dict[str, list[dict[str, Any]]]()
    for table in TABLES:
        cursor = database.execute(f"SELECT rowid AS rowid_, * FROM {table}")
        names = [name for name, *_ in cursor.description]
        by_table[table] = [dict(zip(names, row, strict=True)) for row in cursor]
    return by_table
