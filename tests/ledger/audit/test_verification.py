"""Verification of a ledger: names every row that was changed after it was recorded."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.builders.issued_forecasts import game, issued, recorded
from tests.support.tampering.forging import append, last

from dejavu_ledger import Ledger, LedgerCorrupt, LedgerUnavailable, verify
from dejavu_ledger.queries.verification.revisions import Revision

pytestmark = pytest.mark.sqlite


async def test_a_sound_ledger_is_told_by_its_last_hash(ledger: Ledger, url: str) -> None:
    empty = verify(url)
    assert (empty.entries, empty.sequence) == (0, 0)
    await ledger.commit([issued(game(n)) for n in range(1100)])
    first = verify(url)
    assert (first.entries, first.sequence, first.ledger_id) == (1100, 1100, empty.ledger_id)
    await ledger.commit([issued(game(0), pattern=(9.0,))])
    assert verify(url).hash not in {first.hash, empty.hash}


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
    with pytest.raises(LedgerUnavailable, match="the file is empty"):
        verify(url)


@pytest.mark.parametrize(
    ("given", "repeats"),
    [
        ((None, 81, {"seconds": 12, "side": "away"}), True),
        ((None, None, None), True),
        ((None, 83, None), False),
        ((None, None, {"seconds": 12, "side": "home"}), False),
        (("2023-11-02", 81, None), False),
    ],
)
def test_verification_tells_a_correction_from_a_repetition(given: tuple[object, ...], repeats: bool) -> None:
    before = ("2023-11-01", 81, {"seconds": 12, "side": "away"})
    content = ("[0.0]", "BKN", "GSW")
    revision = Revision(2, 1, content, True, 1, content, content, given, before, before)
    assert (revision.repeats_before, revision.repeats_in_time) == (repeats, repeats)
