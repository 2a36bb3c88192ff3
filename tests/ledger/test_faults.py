"""Database errors reach callers as ledger errors that name the cause without SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, MutableMapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy.exc import OperationalError
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.harness.ledger_faults import add_unreadable_entry, execute, something_else

from dejavu_ledger import (
    InvalidResumeToken,
    Ledger,
    LedgerCorrupt,
    LedgerError,
    LedgerSchemaError,
    LedgerUnavailable,
    verify,
)
from dejavu_ledger.database import store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.sqlite import engine as sqlite_engine
from dejavu_ledger.database.sqlite.backend import SqliteBackend
from dejavu_ledger.errors import LedgerReplaced

pytestmark = pytest.mark.sqlite


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """Capture log events, so that they and their tracebacks are not rendered."""
    with structlog.testing.capture_logs() as captured:
        yield captured


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock, like a process that hangs in a transaction."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def test_a_locked_ledger_is_unavailable_to_writers_and_open_to_readers(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_engine, "BUSY_SECONDS", 0.05)
    ledger = await Ledger.open(url)
    stored = await ledger.commit([issued(game(1))])
    with locked(tmp_path / "ledger.db"):
        with pytest.raises(LedgerUnavailable, match="locked by another process"):
            await ledger.commit([issued(game(2))])
        assert await ledger.read_after(0, 10) == stored
    assert [again.sequence for again in await recorded(ledger, issued(game(2)))] == [2]
    await ledger.close()


async def test_whoever_opened_a_ledger_hears_of_its_failures(url: str, tmp_path: Path) -> None:
    heard: list[LedgerError] = []
    ledger = await Ledger.open(url, on_failure=heard.append)
    await ledger.commit([issued(game(1))])
    with pytest.raises(InvalidResumeToken):
        await ledger.resume_position("nonsense")
    assert heard == []
    add_unreadable_entry(tmp_path / "ledger.db")
    with pytest.raises(LedgerCorrupt):
        await ledger.read_after(0, 10)
    (tmp_path / "ledger.db").unlink()
    with pytest.raises(LedgerUnavailable):
        await ledger.commit([issued(game(2))])
    assert [type(error) for error in heard] == [LedgerCorrupt, LedgerReplaced]
    await ledger.close()


async def test_a_connection_that_was_opened_on_a_broken_disk_is_not_used_again(url: str) -> None:
    backend = SqliteBackend(url)
    ledger = await Ledger.open_backend(backend)
    await ledger.commit([issued(game(1))])
    with backend.write() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")  # fails as one does that was opened on a read-only disk
    with pytest.raises(LedgerUnavailable, match="read-only"):
        await ledger.commit([issued(game(2))])
    assert [again.sequence for again in await recorded(ledger, issued(game(2)))] == [2]
    await ledger.close()


@pytest.mark.parametrize(
    ("statement", "error", "words"),
    [
        ("UPDATE entries SET canonical = '{}'", LedgerCorrupt, "cannot be read back"),
        ("UPDATE entries SET canonical = CAST(x'ff' AS TEXT)", LedgerCorrupt, None),
        ("DELETE FROM entries", LedgerCorrupt, "contradict"),  # the index still has the row
        ("DROP TABLE forecasts", LedgerSchemaError, "a table or column is missing"),
    ],
)
async def test_damage_of_rows_and_tables_is_told_by_what_it_is(
    ledger: Ledger, tmp_path: Path, statement: str, error: type[LedgerError], words: str | None
) -> None:
    await ledger.commit([issued()])
    execute(tmp_path / "ledger.db", statement)
    with pytest.raises(error, match=words):
        await (ledger.read_after(0, 10) if statement.startswith("UPDATE") else ledger.commit([issued(game(2))]))


@pytest.mark.parametrize("taken", ["ledger.db", "ledger.db-wal"])
async def test_what_goes_into_a_file_that_was_taken_away_is_not_acknowledged(
    ledger: Ledger, tmp_path: Path, taken: str
) -> None:
    await ledger.commit([issued(game(1))])
    await ledger.check()
    (tmp_path / taken).rename(tmp_path / "elsewhere")
    with pytest.raises(LedgerUnavailable, match="removed or replaced"):
        await ledger.commit([issued(game(2))])
    with pytest.raises(LedgerUnavailable, match="removed or replaced"):
        await ledger.check()
    (tmp_path / "elsewhere").rename(tmp_path / taken)
    await ledger.check()
    assert [stored.sequence for stored in await recorded(ledger, issued(game(3)))] == [2]


async def test_a_write_during_which_the_file_is_taken_away_is_not_acknowledged(ledger: Ledger, tmp_path: Path) -> None:
    def taking_away(connection: Connection) -> None:
        store.probe_write(connection)
        (tmp_path / "ledger.db").unlink()

    with pytest.raises(LedgerUnavailable, match="removed or replaced"):
        await ledger.write(taking_away)


async def test_a_read_of_what_took_the_ledgers_place_says_so(ledger: Ledger, tmp_path: Path) -> None:
    """The error is not that of another schema, which would be permanent: it goes away with its cause."""
    await ledger.commit([issued()])
    something_else(tmp_path / "ledger.db")
    with pytest.raises(LedgerReplaced):
        await ledger.read_after(0, 10)


async def test_a_probe_tells_whether_it_can_be_written_and_changes_nothing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_engine, "BUSY_SECONDS", 0.05)
    ledger = await Ledger.open(url)
    await ledger.commit([issued()])
    before = verify(url)
    await ledger.probe(thorough=True)
    assert verify(url) == before
    with locked(tmp_path / "ledger.db"), pytest.raises(LedgerUnavailable, match="locked"):
        await ledger.probe()
    await ledger.close()


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("nonsense", LedgerCorrupt, "damaged"),
        (".", LedgerUnavailable, "check the path and its permissions"),
        ("nonsense/ledger.db", LedgerUnavailable, "folder"),
    ],
    ids=["no database", "a folder", "in a file"],
)
async def test_a_path_that_can_be_no_ledger_is_refused(
    tmp_path: Path, path: str, error: type[LedgerError], words: str
) -> None:
    (tmp_path / "nonsense").write_bytes(b"this is not what one looks like" * 100)
    with pytest.raises(error, match=words):
        await Ledger.open(f"sqlite:///{tmp_path / path}")


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
        (sqlite3.SQLITE_CONSTRAINT | 6 << 8, LedgerCorrupt, "damaged"),  # SQLITE_CONSTRAINT_PRIMARYKEY
        (sqlite3.SQLITE_ERROR, LedgerUnavailable, "failed"),
    ],
)
def test_a_result_code_of_sqlite_becomes_an_error_in_words(code: int, expected: type[LedgerError], words: str) -> None:
    cause = sqlite3.OperationalError("near SELECT: some detail")
    cause.sqlite_errorcode = code
    error = sqlite_engine.from_database(OperationalError("SELECT secret", {}, cause))
    assert type(error) is expected
    assert words in str(error)
    assert "SELECT" not in str(error)
