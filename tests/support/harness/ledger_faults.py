"""Faults of a ledger's file: each function causes one and returns a function that undoes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import grpc

from dejavu_ledger.database.schema import VERSION

Undo = Callable[[], object]


@dataclass(frozen=True)
class Fault:
    """A fault, and the error of forecasts with a game id while it lasts.

    Attributes:
        befall: causes the fault at a ledger's path, open or not; returns the function that undoes it.
    """

    name: str
    befall: Callable[[Path], Undo]
    code: grpc.StatusCode
    reason: str

    def __str__(self) -> str:
        return self.name


def add_unreadable_entry(path: Path) -> None:
    """Append an entry of the kind forecast without a forecast in it."""
    execute(path, "INSERT INTO entries SELECT max(sequence) + 1, 'forecast', '{}', zeroblob(32) FROM entries")


def execute(path: Path, statement: str) -> None:
    """Run a statement on a database; leave no write-ahead log unless another connection is open."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def taken_away(path: Path) -> Undo:
    """Move the whole folder away, as when its disk is unmounted."""
    return _moved(path.parent)


def a_file_for_a_folder(path: Path) -> Undo:
    """Replace the folder by a file."""
    put_back = _moved(path.parent)
    path.parent.touch()

    def undo() -> None:
        path.parent.unlink()
        put_back()

    return undo


def file_taken_away(path: Path) -> Undo:
    """Move the database away."""
    return _moved(path)


def garbage(path: Path) -> Undo:
    """Replace the database by a file that is not a database."""
    return _replaced(path, b"this is not what a database looks like" * 1000)


def damaged_pages(path: Path) -> Undo:
    """Overwrite all but the first page, so that every lookup reads a damaged page."""
    content = path.read_bytes()
    return _replaced(path, content[:4096] + b"\xff" * (len(content) - 4096))


def later_schema(path: Path) -> Undo:
    """Set the schema revision of a future release."""
    execute(path, "UPDATE schema_version SET version = '99'")
    return lambda: execute(path, f"UPDATE schema_version SET version = '{VERSION}'")


def something_else(path: Path) -> Undo:
    """Replace the ledger by another program's database."""
    undo = _replaced(path, b"")
    execute(path, "CREATE TABLE recipes (name TEXT)")
    return undo


def locked(path: Path) -> Undo:
    """Hold the write lock, like a process that hangs in the middle of a transaction."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection.close


_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE, "LEDGER_UNAVAILABLE"
_CORRUPT = grpc.StatusCode.DATA_LOSS, "LEDGER_CORRUPT"
_SCHEMA = grpc.StatusCode.FAILED_PRECONDITION, "LEDGER_SCHEMA"

LOCKED = Fault("locked", locked, *_UNAVAILABLE)

AT_THE_START = [
    Fault("a file for a folder", a_file_for_a_folder, *_UNAVAILABLE),
    LOCKED,
    Fault("garbage", garbage, *_CORRUPT),
    Fault("damaged pages", damaged_pages, *_CORRUPT),
    Fault("later schema", later_schema, *_SCHEMA),
    Fault("something else", something_else, *_SCHEMA),
]

WHILE_IT_RUNS = [
    Fault("folder taken away", taken_away, *_UNAVAILABLE),
    Fault("a file for a folder", a_file_for_a_folder, *_UNAVAILABLE),
    Fault("file taken away", file_taken_away, *_UNAVAILABLE),
    Fault("garbage", garbage, *_CORRUPT),
    Fault("something else", something_else, *_SCHEMA),
]
"""Faults that end the streams; a lock and a full disk do not."""


def _moved(path: Path) -> Undo:
    elsewhere = path.with_name(f"{path.name}.elsewhere")
    path.rename(elsewhere)
    return lambda: elsewhere.rename(path)


def _replaced(path: Path, content: bytes) -> Undo:
    """Write a file in place of the database; move the log away too, as another database must not read it."""
    originals = path.with_name("kept")
    originals.mkdir()
    for each in path.parent.glob(f"{path.name}*"):
        each.rename(originals / each.name)
    path.write_bytes(content)

    def undo() -> None:
        logs = sorted(originals.glob(f"{path.name}-*"))
        if logs:
            path.unlink()  # a log must not be next to another database
        for log in logs:
            log.rename(path.parent / log.name)
        (originals / path.name).replace(path)
        originals.rmdir()

    return undo
