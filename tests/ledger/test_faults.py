"""Database errors reach callers as ledger errors that name the cause without SQL."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.harness.ledger_faults import execute, locked, something_else

from dejavu_ledger import (
    Ledger,
    LedgerCorrupt,
    LedgerError,
    LedgerSchemaError,
    LedgerUnavailable,
    verify,
)
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.sqlite import SqliteBackend
from dejavu_ledger.errors import LedgerReplaced

pytestmark = pytest.mark.sqlite


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """Capture log events, so that they and their tracebacks are not rendered."""
    with structlog.testing.capture_logs() as captured:
        yield captured


async def test_a_connection_that_was_opened_on_a_broken_disk_is_not_used_again(url: str) -> None:
    backend = SqliteBackend(url)
    ledger = await Ledger.open(backend)
    await ledger.commit([issued(game(1))])
    with backend.write() as connection:
        sql.rows(connection, "PRAGMA query_only=ON")  # fails as one does that was opened on a read-only disk
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


async def test_a_probe_changes_nothing(ledger: Ledger, url: str) -> None:
    await ledger.commit([issued()])
    before = verify(url)
    await ledger.probe(thorough=True)
    assert verify(url) == before


async def test_a_lock_that_another_process_holds_is_waited_for_and_told(ledger: Ledger, tmp_path: Path) -> None:
    release = locked(tmp_path / "ledger.db")
    with pytest.raises(LedgerUnavailable, match="locked by another process for too long"):
        await ledger.commit([issued()])
    release()
    assert len(await ledger.commit([issued()])) == 1
