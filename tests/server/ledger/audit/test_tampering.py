"""Tampering with a ledger's file: verification with an external checkpoint detects changes, removals and rebuilds."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders import full_ledger
from tests.support.harness.laws import examples
from tests.support.tampering.tamper_kinds import KINDS
from tests.support.tampering.tampering import CHECKS, TABLES, Specimen, Tampering, full_specimen, rows

from dejavu_server.ledger import Ledger, LedgerCorrupt, LedgerError, verify

pytestmark = pytest.mark.sqlite

DOCUMENT = Path(__file__).parents[4] / "docs/verification.md"

TOLERANCE = timedelta(days=1)
"""More than this module takes on a busy machine; kinds of tampering with a time are off by five days."""

CACHES = {"checkpoints", "snapshots"}
"""Tables whose removed rows are not detected (see the docstring of verification.py)."""


@pytest.fixture(scope="module")
def specimen(tmp_path_factory: pytest.TempPathFactory) -> Specimen:
    return full_specimen(tmp_path_factory.mktemp("ledger"))


@pytest.fixture(scope="module")
def cells(specimen: Specimen) -> list[tuple[str, int, str]]:
    """Return table, rowid and column of every value."""
    return [
        (table, row["rowid_"], column)
        for table in TABLES
        for row in specimen.rows[table]
        for column in row
        if column != "rowid_"
    ]


def alterations(value: Any) -> Iterator[Any]:
    """Yield values near a value, and others that look like it."""
    yield from (None, b"", "", 0, 1, -1, 0.5, str(value), str(value).encode())
    if isinstance(value, int):
        yield from (value + 1, value - 1, value ^ 1 << 20, float(value), value + 0.5)
    elif isinstance(value, float):
        yield from (math.nextafter(value, math.inf), -value, value + 1.0, math.inf, f"{value!r} ")
    elif isinstance(value, str):
        middle = len(value) // 2
        yield from (value + " ", value + "\0", value[:-1], value.upper(), value[:middle] + "~" + value[middle + 1 :])
    elif isinstance(value, bytes):
        for place in (0, len(value) // 2, len(value) - 1):
            yield value[:place] + bytes([value[place] ^ 1 << place % 8]) + value[place + 1 :]
        yield from (value + b"\0", value[:-1], value.hex(), value.decode("latin-1"))


def test_the_ledger_is_sound_and_has_something_in_every_table(specimen: Specimen) -> None:
    with specimen.copy() as (url, _):
        found = verify(url, specimen.kept, public_keys=[specimen.kept.public_key])
    assert (found.sequence, found.hash) == (specimen.kept.sequence, specimen.kept.hash.hex())
    assert {table: len(specimen.rows[table]) for table in ("entries", "checkpoints", "snapshots")} == {
        "entries": found.entries,
        "checkpoints": found.checkpoints,
        "snapshots": found.snapshots,
    }
    assert min(len(rows) for rows in specimen.rows.values()) > 0


@pytest.mark.parametrize("kind", [pytest.param(kind, id=f"{kind.place}: {kind.what}") for kind in KINDS])
def test_a_kind_of_tampering_is_found_by_the_check_that_the_documentation_names(
    specimen: Specimen, kind: Tampering
) -> None:
    with specimen.copy() as (url, database):
        before = list(database.iterdump())
        kind.do(database, specimen.key)
        assert list(database.iterdump()) != before
        for kept, check in ((None, kind.alone), (specimen.kept, kind.held)):
            if check is None:
                verify(url, kept, clock_tolerance=TOLERANCE)
                continue
            with pytest.raises(LedgerError, match=CHECKS[check]):
                verify(url, kept, clock_tolerance=TOLERANCE)


def test_the_documentation_counts_the_kinds_of_tampering_and_lists_those_not_found_in_the_ledger_alone() -> None:
    listed = re.findall(rf"^\| (?:{'|'.join(TABLES)}|schema) \|.*$", DOCUMENT.read_text(), re.MULTILINE)
    assert listed == [kind.row for kind in KINDS if kind.alone is None]
    explained = re.findall(r"^\| \*\*(.+?)\*\* \|", DOCUMENT.read_text(), re.MULTILINE)
    assert explained == list(CHECKS)
    assert {check for kind in KINDS for check in (kind.alone, kind.held)} == {*CHECKS, None}
    counted = re.search(
        r"(\d+) kinds of .*?\s(\d+) are found in the ledger alone,\s(\d+) with", DOCUMENT.read_text(), re.DOTALL
    )
    assert counted is not None
    alone, held = (
        sum(check is not None for check in found)
        for found in ([kind.alone for kind in KINDS], [kind.held for kind in KINDS])
    )
    assert [int(each) for each in counted.groups()] == [len(KINDS), alone, held]


@given(data=st.data())
def test_any_value_altered_is_found(specimen: Specimen, cells: list[tuple[str, int, str]], data: st.DataObject) -> None:
    table, rowid, column = data.draw(st.sampled_from(cells), label="cell")
    value = next(row[column] for row in specimen.rows[table] if row["rowid_"] == rowid)
    altered = data.draw(st.sampled_from(list(alterations(value))), label="altered")
    with specimen.copy() as (url, database):
        try:
            database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (altered, rowid))
        except sqlite3.IntegrityError:
            return  # SQLite refuses it
        if _same(rows(database), specimen.rows):
            return  # SQLite converted it to the old value
        with pytest.raises(LedgerError):
            verify(url, specimen.kept)


@settings(max_examples=examples(8))
@given(data=st.data())
def test_any_row_dropped_is_found(specimen: Specimen, data: st.DataObject) -> None:
    table = data.draw(st.sampled_from([table for table in TABLES if table not in CACHES]))
    rowid = data.draw(st.sampled_from([row["rowid_"] for row in specimen.rows[table]]))
    with specimen.copy() as (url, database):
        database.execute(f"DELETE FROM {table} WHERE rowid = ?", (rowid,))
        with pytest.raises(LedgerError):
            verify(url, specimen.kept)


@settings(max_examples=examples(8))
@given(data=st.data())
def test_any_row_put_in_is_found(specimen: Specimen, data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(TABLES))
    row = dict(data.draw(st.sampled_from(specimen.rows[table])))
    del row["rowid_"]
    for column in ("sequence", "forecast_sequence", "id"):
        if column in row:
            row[column] += data.draw(st.integers(1, 30), label=column)
    if "revision" in row:
        row["revision"] += 10
    with specimen.copy() as (url, database):
        try:
            into = f"{table} ({', '.join(row)})"
            database.execute(f"INSERT INTO {into} VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
        except sqlite3.IntegrityError:
            return  # the key is taken
        with pytest.raises(LedgerError):
            verify(url, specimen.kept)


@given(data=st.data())
def test_any_bit_of_the_file_may_turn_and_no_row_is_another_unnoticed(specimen: Specimen, data: st.DataObject) -> None:
    place, bit = data.draw(st.integers(0, len(specimen.content) - 1)), data.draw(st.integers(0, 7))
    content = bytearray(specimen.content)
    content[place] ^= 1 << bit
    (specimen.folder / "turned.db").write_bytes(content)
    try:
        verify(f"sqlite:///{specimen.folder}/turned.db", specimen.kept)
    except LedgerError:
        return
    finally:
        for each in specimen.folder.glob("turned.db-*"):
            each.unlink()
    with closing(sqlite3.connect(specimen.folder / "turned.db")) as database:
        assert _same(rows(database), specimen.rows)


@pytest.mark.parametrize("with_the_key", [False, True])
async def test_a_rebuilt_chain_is_found_with_a_kept_checkpoint(
    specimen: Specimen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_the_key: bool
) -> None:
    """A different history, recorded by the same code under the same identity, is a valid ledger by itself."""
    path = tmp_path / "ledger.db"
    if with_the_key:
        monkeypatch.setattr(full_ledger, "key_path", lambda _: specimen.key)
    await (await Ledger.open(f"sqlite:///{path}")).close()
    [identity] = specimen.rows["ledger"]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE ledger SET ledger_id = ?, epoch = ?", (identity["ledger_id"], identity["epoch"]))
    genuine = full_ledger.recordable

    def flattering(number: int, **options: Any) -> Any:
        made = genuine(number, **options)
        return replace(made, forecast=replace(made.forecast, point=1.5))

    monkeypatch.setattr(full_ledger, "recordable", flattering)
    ledger = await Ledger.open(f"sqlite:///{path}")
    await full_ledger.fill(ledger, path)
    await ledger.close()

    url = f"sqlite:///{path}"
    assert verify(url, clock_tolerance=TOLERANCE).sequence == specimen.kept.sequence, "it is valid by itself"
    with pytest.raises(LedgerCorrupt, match="history was rewritten"):
        verify(url, specimen.kept, clock_tolerance=TOLERANCE)
    if not with_the_key:
        with pytest.raises(LedgerCorrupt, match="signed with another key"):
            verify(url, public_keys=[specimen.kept.public_key], clock_tolerance=TOLERANCE)


def _same(some: Any, others: Any) -> bool:
    return repr(some) == repr(others)  # repr distinguishes 0 from 0.0
