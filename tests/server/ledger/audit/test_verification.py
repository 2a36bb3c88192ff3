"""Verification of a ledger: names every row that was changed after it was recorded."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.builders.full_ledger import outcome
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.tampering.forging import append, last

from dejavu_server.ledger import Ledger, LedgerCorrupt, LedgerSchemaError, LedgerUnavailable, verify
from dejavu_server.ledger.database.recorded_games import RecordedGames

pytestmark = pytest.mark.sqlite


async def test_a_sound_ledger_is_told_by_its_last_hash(ledger: Ledger, url: str) -> None:
    empty = verify(url)
    assert (empty.entries, empty.sequence) == (0, 0)
    await ledger.commit([issued(game(n)) for n in range(1500)])
    first = verify(url)
    assert (first.entries, first.sequence, first.ledger_id) == (1500, 1500, empty.ledger_id)
    await ledger.commit([issued(game(0), pattern=(9.0,))])
    assert verify(url).hash not in {first.hash, empty.hash}


@pytest.mark.parametrize(
    ("tampering", "named"),
    [
        (
            "UPDATE entries SET canonical = replace(canonical, '\"point\":1.25', '\"point\":1.5') WHERE sequence = 2",
            "2",
        ),
        ("UPDATE entries SET hash = zeroblob(32) WHERE sequence = 3", "3"),
        ("DELETE FROM entries WHERE sequence = 2", "3"),
        ("UPDATE entries SET sequence = 9 WHERE sequence = 2", "3"),
        ("UPDATE forecasts SET revision = 5 WHERE sequence = 2", "entry 2: the row in forecasts"),
        ("UPDATE forecasts SET pattern = '[1.0]' WHERE sequence = 4", "entry 4: the row in forecasts"),
        ("DELETE FROM forecasts WHERE sequence = 1", "entry 1: the row in forecasts"),
        ("DELETE FROM entries WHERE sequence = 4", "without an entry"),
        ("UPDATE ledger SET ledger_id = 'ffffffffffffffffffffffffffffffff'", "identity"),
        ("DELETE FROM ledger", "identity"),
    ],
)
async def test_tampering_is_found_and_named(
    ledger: Ledger, url: str, tmp_path: Path, tampering: str, named: str
) -> None:
    await ledger.commit([issued(game(n)) for n in range(1, 5)])
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        assert connection.execute(tampering).rowcount == 1
    with pytest.raises(LedgerCorrupt, match=named):
        verify(url)


async def test_entries_that_were_removed_without_a_signed_statement_are_missed(
    ledger: Ledger, url: str, tmp_path: Path
) -> None:
    await ledger.commit([issued(game(n)) for n in range(1, 6)])
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute(
            "UPDATE ledger SET pruned_through = 2, pruned_hash = (SELECT hash FROM entries WHERE sequence = 2)"
        )
        connection.execute("DELETE FROM forecasts WHERE sequence <= 2")
        connection.execute("DELETE FROM entries WHERE sequence <= 2")
    with pytest.raises(LedgerCorrupt, match="entries up to 2 were removed, and no signed snapshot says so"):
        verify(url)


async def test_what_was_recorded_with_hindsight_is_named(
    ledger: Ledger, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [early] = await recorded(ledger, issued(game(1)))
    await ledger.record_outcome(outcome(1, 3))
    assert verify(url).settled == 1
    monkeypatch.setattr(RecordedGames, "known_outcome", lambda *_: None)  # a writer that records with hindsight
    [late] = await recorded(ledger, issued(game(1), pattern=(1.0, 2.0)))
    assert (early.sequence, late.sequence) == (1, 3)
    with pytest.raises(LedgerCorrupt, match="entry 3: recorded after the outcome at 2"):
        verify(url)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [("request", "game_id", 22300061), ("forecast", "distribution", ["1.5"]), ("forecast", "generated_us", 10**20)],
)
async def test_an_entry_with_values_of_another_type_is_named(
    ledger: Ledger, url: str, tmp_path: Path, part: str, name: str, value: object
) -> None:
    await recorded(ledger, issued(game(1)))
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        entry = last(connection, "forecast")
        entry["payload"][part][name] = value
        append(connection, entry, row=False)
        columns = [row[1] for row in connection.execute("PRAGMA table_info(forecasts)")]
        others = ", ".join(columns[2:])
        connection.execute(f"INSERT INTO forecasts SELECT 2, 'key', {others} FROM forecasts")
    with pytest.raises(LedgerCorrupt, match="entry 2: "):
        verify(url)


def test_a_ledger_that_is_not_there_is_not_made(url: str, tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="there is no ledger"):
        verify(url)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_is_no_ledger_yet(url: str, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    with pytest.raises(LedgerSchemaError, match="older schema"):
        verify(url)
