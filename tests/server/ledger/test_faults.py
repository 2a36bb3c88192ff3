"""Faults of the database reach callers as the ledger's errors: what is wrong, without SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, MutableMapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy.exc import OperationalError
from tests.support.issued import game, issued

from dejavu_server import trouble
from dejavu_server.ledger import Ledger, LedgerCorrupt, LedgerError, LedgerUnavailable, engine, errors


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """Keeps what is logged from being rendered, tracebacks and all."""
    with structlog.testing.capture_logs() as captured:
        yield captured


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the write lock, as a process would that hangs in the middle of a transaction."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def test_a_locked_ledger_is_unavailable_to_writers_and_open_to_readers(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.05)
    ledger = await Ledger.open(url)
    stored = await ledger.commit([issued(game(1))])
    with locked(tmp_path / "ledger.db"):
        with pytest.raises(LedgerUnavailable, match="locked by another process"):
            await ledger.commit([issued(game(2))])
        assert await ledger.read_after(0, 10) == stored
    assert [again.sequence for again in await ledger.commit([issued(game(2))])] == [2]
    await ledger.close()


async def test_a_full_disk_fails_a_commit_and_nothing_else(
    ledger: Ledger, logs: list[MutableMapping[str, Any]]
) -> None:
    [stored] = await ledger.commit([issued(game(1))])
    limit_size(ledger)
    with pytest.raises(LedgerUnavailable, match="full") as failed:
        await ledger.commit([issued(game(n)) for n in range(2, 2000)])
    assert "INSERT" not in str(failed.value)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("ledger_commit_failed", "error")]
    assert await ledger.commit([issued(game(1))]) == [stored]
    assert await ledger.head() == 1


async def test_a_ledger_that_stays_locked_is_told_of_once(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: list[MutableMapping[str, Any]]
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr(trouble, "SETTLED_SECONDS", 0.0)
    ledger = await Ledger.open(url)
    with locked(tmp_path / "ledger.db"):
        for number in range(20):
            with pytest.raises(LedgerUnavailable):
                await ledger.commit([issued(game(number))])
    for number in range(2):
        await ledger.commit([issued(game(number))])
    assert [entry["event"] for entry in logs] == ["ledger_commit_failed", "ledger_commit_recovered"]
    assert isinstance(logs[0]["exc_info"], LedgerUnavailable)
    assert logs[1]["failures"] == 20
    await ledger.close()


def limit_size(ledger: Ledger) -> None:
    """Makes SQLite find the disk full at 64 pages, by its own means."""
    from sqlalchemy import Connection, event

    @event.listens_for(ledger._writer._engine, "begin")
    def limit(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count=64")


async def test_a_file_that_is_no_database_is_corrupt(url: str, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"this is not what one looks like" * 100)
    with pytest.raises(LedgerCorrupt, match="damaged"):
        await Ledger.open(url)


async def test_an_entry_that_cannot_be_read_back_is_corrupt(ledger: Ledger, tmp_path: Path) -> None:
    await ledger.commit([issued()])
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute("UPDATE entries SET canonical = '{}'")
    with pytest.raises(LedgerCorrupt, match="cannot be read back"):
        await ledger.read_after(0, 10)


async def test_a_path_that_is_a_folder_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="not to be opened"):
        await Ledger.open(f"sqlite:///{tmp_path}")


async def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerUnavailable, match="folder"):
        await Ledger.open(f"sqlite:///{tmp_path}/file/ledger.db")


@pytest.mark.parametrize(
    ("code", "expected", "words"),
    [
        (sqlite3.SQLITE_BUSY, LedgerUnavailable, "locked"),
        (sqlite3.SQLITE_BUSY | 2 << 8, LedgerUnavailable, "locked"),  # SQLITE_BUSY_SNAPSHOT
        (sqlite3.SQLITE_FULL, LedgerUnavailable, "full"),
        (sqlite3.SQLITE_READONLY, LedgerUnavailable, "read-only"),
        (sqlite3.SQLITE_IOERR | 4 << 8, LedgerUnavailable, "I/O"),  # SQLITE_IOERR_FSYNC
        (sqlite3.SQLITE_CORRUPT, LedgerCorrupt, "damaged"),
        (sqlite3.SQLITE_NOTADB, LedgerCorrupt, "damaged"),
        (sqlite3.SQLITE_ERROR, LedgerUnavailable, "failed"),
    ],
)
def test_a_result_code_of_sqlite_becomes_an_error_in_words(code: int, expected: type[LedgerError], words: str) -> None:
    cause = sqlite3.OperationalError("near SELECT: some detail")
    cause.sqlite_errorcode = code
    error = errors.from_database(OperationalError("SELECT secret", {}, cause))
    assert type(error) is expected
    assert words in str(error)
    assert "SELECT" not in str(error)
