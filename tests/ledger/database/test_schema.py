"""The ledger's database: created or refused."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import stat
from pathlib import Path

import pytest
from tests.support.builders.issued_forecasts import issued

from dejavu_ledger import (
    Durability,
    InvalidLedgerUrl,
    Ledger,
    LedgerError,
    LedgerSchemaError,
    LedgerUnavailable,
)
from dejavu_ledger.database import creation
from dejavu_ledger.database.sqlite import backend as sqlite

pytestmark = pytest.mark.sqlite


async def test_one_at_a_time_prepares_a_ledger_and_one_that_is_held_for_too_long_is_told(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    opening = asyncio.create_task(Ledger.open(url))
    await asyncio.wait([opening], timeout=0.2)
    assert not opening.done()
    monkeypatch.setattr(creation, "LOCK_SECONDS", 0.0)
    with pytest.raises(LedgerUnavailable, match="another process has been preparing the ledger"):
        await Ledger.open(url)
    os.close(folder)
    await (await opening).close()


async def test_the_folders_of_a_ledger_are_made(tmp_path: Path) -> None:
    ledger = await Ledger.open(f"sqlite:///{tmp_path}/not/yet/100%25/ledger.db")
    await ledger.close()
    assert (tmp_path / "not/yet/100%/ledger.db").is_file()


@pytest.mark.parametrize(("durability", "synchronous"), [(Durability.PROCESS, 1), (Durability.POWER, 2)])
def test_durability_is_how_sqlite_waits_for_the_disk(tmp_path: Path, durability: Durability, synchronous: int) -> None:
    (tmp_path / "ledger.db").touch()
    writing = sqlite.writing_engine(tmp_path / "ledger.db", durability)
    with writing.begin() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == synchronous
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    writing.dispose()


async def test_a_ledger_that_is_gone_is_not_made_anew_unless_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="check the path and its permissions"):
        await Ledger.open(url, make=False)
    assert not (tmp_path / "ledger.db").exists()
    (tmp_path / "ledger.db").touch()
    with pytest.raises(LedgerUnavailable, match="its file is empty"):
        await Ledger.open(url, make=False)


async def test_a_ledger_of_a_later_release_is_refused(url: str, tmp_path: Path) -> None:
    await (await Ledger.open(url)).close()
    execute(tmp_path / "ledger.db", "UPDATE schema_version SET version = '99'")
    with pytest.raises(LedgerSchemaError, match="schema '99'; this release knows '1' alone"):
        await Ledger.open(url)


async def test_the_database_of_something_else_is_refused_and_left_alone(url: str, tmp_path: Path) -> None:
    execute(tmp_path / "ledger.db", "CREATE TABLE recipes (name TEXT)")
    before = (tmp_path / "ledger.db").read_bytes()
    with pytest.raises(LedgerSchemaError, match="not a ledger"):
        await Ledger.open(url)
    assert (tmp_path / "ledger.db").read_bytes() == before


@pytest.mark.parametrize(
    "url",
    ["", "ledger.db", "sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://host/db", "sqlite:///a?mode=ro"],
)
async def test_a_url_that_names_no_ledger_is_refused(url: str) -> None:
    with pytest.raises(InvalidLedgerUrl, match="expected sqlite:///PATH"):
        await Ledger.open(url)
    assert issubclass(InvalidLedgerUrl, LedgerError)


def execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


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
