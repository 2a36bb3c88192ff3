"""A ledger in a SQLite file: its folder, its files, its write-ahead log, its URL."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.builders.issued_forecasts import game, issued

from dejavu_ledger import (
    Durability,
    Ledger,
    LedgerCorrupt,
    LedgerSchemaError,
    LedgerUnavailable,
    verify,
)
from dejavu_ledger.database import sql
from dejavu_ledger.database.sqlite import SqliteBackend, WalCheckpointer

pytestmark = pytest.mark.sqlite


async def test_the_folders_of_a_ledger_are_made(tmp_path: Path) -> None:
    ledger = await Ledger.open(f"sqlite:///{tmp_path}/not/yet/100%25/ledger.db")
    await ledger.close()
    assert (tmp_path / "not/yet/100%/ledger.db").is_file()


@pytest.mark.parametrize(("durability", "synchronous"), [(Durability.PROCESS, 1), (Durability.POWER, 2)])
def test_durability_is_how_sqlite_waits_for_the_disk(tmp_path: Path, durability: Durability, synchronous: int) -> None:
    with closing(SqliteBackend(f"sqlite:///{tmp_path}/ledger.db", durability)) as backend:
        backend.open(make=True)
        with backend.write() as connection:
            assert sql.value(connection, "PRAGMA synchronous") == synchronous
            assert sql.value(connection, "PRAGMA journal_mode") == "wal"


@pytest.mark.parametrize(
    ("there", "opening", "verifying"),
    [
        (False, "check the path and its permissions", "there is no ledger"),
        (True, "its file is empty", "the file is empty"),
    ],
)
def test_what_is_no_ledger_yet_or_no_longer_is_not_made_one_unless_asked(
    url: str, tmp_path: Path, there: bool, opening: str, verifying: str
) -> None:
    if there:
        (tmp_path / "ledger.db").touch()
    with closing(SqliteBackend(url)) as backend, pytest.raises(LedgerUnavailable, match=opening):
        backend.open(make=False)
    with pytest.raises(LedgerUnavailable, match=verifying):
        verify(url)
    assert [each.stat().st_size for each in tmp_path.iterdir()] == [0] * there


async def test_a_refused_database_is_not_changed(url: str, tmp_path: Path) -> None:
    execute(tmp_path / "ledger.db", "CREATE TABLE recipes (name TEXT)")
    before = (tmp_path / "ledger.db").read_bytes()
    with pytest.raises(LedgerSchemaError, match="not a ledger"):
        await Ledger.open(url)
    assert (tmp_path / "ledger.db").read_bytes() == before


async def test_a_schema_with_names_that_are_no_text_is_damage(ledger: Ledger, url: str, tmp_path: Path) -> None:
    """SQLite names them in its message, which its driver fails to read."""
    await ledger.close()
    turned = "UPDATE sqlite_master SET sql = 'no statement', name = CAST(x'ac' AS TEXT) WHERE name = 'leases'"
    execute(tmp_path / "ledger.db", f"PRAGMA writable_schema = ON; {turned}")
    with pytest.raises(LedgerCorrupt, match="not a sound SQLite database"):
        await Ledger.open(url)
    with pytest.raises(LedgerCorrupt, match="not a sound SQLite database"):
        verify(url)


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(statement)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("ledger.db*")}


async def test_a_new_ledger_and_the_files_beside_it_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    opened = await Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    try:
        await opened.commit([issued("0022600001")])
        found = modes(tmp_path)
    finally:
        await opened.close()
    assert set(found) >= {"ledger.db", "ledger.db-wal", "ledger.db-shm"}
    assert set(found.values()) == {0o600}


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nothing tells of a copy
            await asyncio.sleep(0.01)


async def test_the_write_ahead_log_is_copied_soon_after_commits(ledger: Ledger, tmp_path: Path) -> None:
    for first in (0, 20):  # it goes on with what comes later
        before = (tmp_path / "ledger.db").stat().st_size
        await ledger.commit([issued(game(n)) for n in range(first, first + 20)])
        await eventually(lambda: (tmp_path / "ledger.db").stat().st_size > before)  # noqa: B023 - it runs at once


async def test_a_log_that_cannot_be_copied_fails_no_commit(ledger: Ledger, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")  # an open read keeps the log
        reader.execute("SELECT count(*) FROM entries").fetchone()
        for number in range(3):
            assert len(await ledger.commit([issued(game(number))])) == 1
            await asyncio.sleep(0.3)
    assert (await ledger.position()).sequence == 3


def test_copying_ends_whenever_it_is_closed(tmp_path: Path) -> None:
    pause, rng = 0.001, random.Random(1)
    for _ in range(400):
        checkpointer = WalCheckpointer(tmp_path / "ledger.db", pause)
        checkpointer.committed()
        time.sleep(pause * rng.uniform(0.8, 1.4))  # at the end of its pause, when it begins to copy
        closer = threading.Thread(target=checkpointer.close, daemon=True)
        closer.start()
        closer.join(20)
        assert not closer.is_alive()
