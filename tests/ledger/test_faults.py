"""Database errors and full disks: callers get the cause without SQL, and nothing is partially written."""

from __future__ import annotations

import resource
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
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


async def test_a_lock_that_another_process_holds_is_waited_for_and_told(ledger: Ledger, tmp_path: Path) -> None:
    release = locked(tmp_path / "ledger.db")
    with pytest.raises(LedgerUnavailable, match="locked by another process for too long"):
        await ledger.commit([issued()])
    release()
    assert len(await ledger.commit([issued()])) == 1


STEP = 4096


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """Limit the size of every file that this process writes; a write may be cut anywhere."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


async def test_a_ledger_that_could_not_be_made_is_made_later_whatever_was_left_of_it(tmp_path: Path) -> None:
    refused = 0
    for size in range(0, 64 * STEP, 8 * STEP):
        url = f"sqlite:///{tmp_path}/{size}.db"
        with files_no_longer_than(size):
            try:
                await (await Ledger.open(url)).close()
            except LedgerUnavailable:
                refused += 1
        ledger = await Ledger.open(url)
        [stored] = await recorded(ledger, issued())
        await ledger.close()
        assert stored.sequence == 1
        assert verify(url).sequence == 1
    assert 0 < refused < 8  # otherwise the chosen sizes prove nothing


async def test_what_was_refused_for_want_of_room_leaves_no_trace(url: str, tmp_path: Path) -> None:
    """At every file size: exactly the acknowledged forecasts are stored, and the chain is intact.

    Closing moves the write-ahead log into the database, which has no room for it.
    """
    ledger = await Ledger.open(url)
    acknowledged: list[str] = []
    refused = 0
    for number in range(60):
        with files_no_longer_than(max(length(tmp_path / "ledger.db-wal"), 8 * STEP) + number * 3001 % (8 * STEP)):
            try:
                stored = await recorded(ledger, issued(game(number)), issued(game(1000 + number)))
                acknowledged += [each.game_id for each in stored]
            except LedgerError:
                refused += 1
        if number % 10 == 0:
            assert verify(url).sequence == len(acknowledged)
    assert 5 < refused < 55
    entries = await ledger.read_after(0, 1000)
    assert [entry.game_id for entry in entries] == acknowledged
    assert [entry.sequence for entry in entries] == list(range(1, len(acknowledged) + 1))
    with files_no_longer_than(10 * STEP):
        await ledger.close()
    assert verify(url).sequence == len(acknowledged)
    again = await Ledger.open(url)
    assert await again.read_after(0, 1000) == entries
    await again.close()
