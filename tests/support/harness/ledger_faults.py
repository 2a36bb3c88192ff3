"""What can befall a ledger's file: each fault is done by a function that returns what undoes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import grpc

from dejavu_server.ledger.database.schema import REVISION

Undo = Callable[[], object]


@dataclass(frozen=True)
class Fault:
    """A fault, and how a named forecast is refused while it lasts.

    Attributes:
        befall: does it to the ledger at a path, which nobody need have open; returns what undoes it.
    """

    name: str
    befall: Callable[[Path], Undo]
    code: grpc.StatusCode
    reason: str

    def __str__(self) -> str:
        return self.name


def add_unreadable_entry(path: Path) -> None:
    """Appends an entry that has the kind of a forecast, and none in it."""
    execute(path, "INSERT INTO entries SELECT max(sequence) + 1, 'forecast', '{}', zeroblob(32) FROM entries")


def execute(path: Path, statement: str) -> None:
    """Runs a statement on a database, and leaves nothing of it in the write-ahead log if nobody else has it open."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def taken_away(path: Path) -> Undo:
    """Moves the whole folder away, as when its disk is unmounted and nothing lies below."""
    return _moved(path.parent)


def a_file_for_a_folder(path: Path) -> Undo:
    """Puts a file in the place of the folder."""
    put_back = _moved(path.parent)
    path.parent.touch()

    def undo() -> None:
        path.parent.unlink()
        put_back()

    return undo


def a_folder_for_a_file(path: Path) -> Undo:
    """Puts a folder in the place of the database."""
    put_back = _moved(path)
    path.mkdir()

    def undo() -> None:
        path.rmdir()
        put_back()

    return undo


def file_taken_away(path: Path) -> Undo:
    """Moves the database away."""
    return _moved(path)


def garbage(path: Path) -> Undo:
    """Puts a file that is no database in the place of the database."""
    return _replaced(path, b"this is not what a database looks like" * 1000)


def damaged_header(path: Path) -> Undo:
    """Overwrites the first bytes."""
    content = path.read_bytes()
    return _replaced(path, bytes(100) + content[100:])


def damaged_pages(path: Path) -> Undo:
    """Overwrites all but the first page, so that whatever is looked for lies on a damaged one."""
    content = path.read_bytes()
    return _replaced(path, content[:4096] + b"\xff" * (len(content) - 4096))


def cut_off(path: Path) -> Undo:
    """Leaves the first page and a half."""
    return _replaced(path, path.read_bytes()[:6144])


def later_schema(path: Path) -> Undo:
    """Writes down the schema of a release that is yet to come."""
    execute(path, "UPDATE alembic_version SET version_num = 'ledger_0099'")
    return lambda: execute(path, f"UPDATE alembic_version SET version_num = '{REVISION}'")


def something_else(path: Path) -> Undo:
    """Puts another program's database in the place of the ledger."""
    undo = _replaced(path, b"")
    execute(path, "CREATE TABLE recipes (name TEXT)")
    return undo


def locked(path: Path) -> Undo:
    """Holds the write lock, as a process would that hangs in the middle of a transaction."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection.close


_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE, "LEDGER_UNAVAILABLE"
_CORRUPT = grpc.StatusCode.DATA_LOSS, "LEDGER_CORRUPT"
_SCHEMA = grpc.StatusCode.FAILED_PRECONDITION, "LEDGER_SCHEMA"

LOCKED = Fault("locked", locked, *_UNAVAILABLE)

AT_THE_START = [
    Fault("a file for a folder", a_file_for_a_folder, *_UNAVAILABLE),
    Fault("a folder for a file", a_folder_for_a_file, *_UNAVAILABLE),
    LOCKED,
    Fault("garbage", garbage, *_CORRUPT),
    Fault("damaged header", damaged_header, *_CORRUPT),
    Fault("damaged pages", damaged_pages, *_CORRUPT),
    Fault("cut off", cut_off, *_CORRUPT),
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
"""Those that end the streams; a lock and a full disk do not."""


def _moved(path: Path) -> Undo:
    elsewhere = path.with_name(f"{path.name}.elsewhere")
    path.rename(elsewhere)
    return lambda: elsewhere.rename(path)


def _replaced(path: Path, content: bytes) -> Undo:
    """Moves the database away with its log, which another one must not find, and puts a file in its place."""
    kept = path.with_name("kept")
    kept.mkdir()
    for each in path.parent.glob(f"{path.name}*"):
        each.rename(kept / each.name)
    path.write_bytes(content)

    def undo() -> None:
        logs = sorted(kept.glob(f"{path.name}-*"))
        if logs:
            path.unlink()  # the log of one database must not be found beside another
        for log in logs:
            log.rename(path.parent / log.name)
        (kept / path.name).replace(path)
        kept.rmdir()

    return undo
