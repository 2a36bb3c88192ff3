"""A copy of a ledger equals it row by row, whatever it contains, and goes on where it was interrupted."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from tests.ledger.copies.evenings import Evenings, evenings_at, rows, rows_at, write_evenings
from tests.support.fakes.memory_backend import MemoryBackend
from tests.support.harness.laws import examples
from tests.support.processes.empty_ledger import put_empty_ledger

from dejavu_ledger import LedgerCorrupt, verify
from dejavu_ledger.copies import databases, stored_rows
from dejavu_ledger.copies.databases import open_source, open_target
from dejavu_ledger.copies.ledger_copy import StepProgress, TargetRefused, copy_ledger
from dejavu_ledger.database.backend import Backend
from dejavu_ledger.database.sqlite.backend import SqliteBackend


@contextmanager
def opened(source: Path, target: Path) -> Iterator[tuple[Backend, Backend]]:
    with ExitStack() as stack:
        reading = stack.enter_context(open_source(f"sqlite:///{source}"))
        if not target.exists():
            put_empty_ledger(target)
        yield reading, stack.enter_context(open_target(f"sqlite:///{target}", reading))


def epoch(path: Path) -> str:
    return str(rows_at(path)["ledger"][0]["epoch"])


@settings(max_examples=examples(3), deadline=None)
@given(evenings=st.integers(0, 3), games=st.integers(1, 3), seed=st.integers(0, 1000), page=st.integers(1, 40))
def test_a_copy_and_the_copy_of_it_equal_the_source_row_by_row(evenings: int, games: int, seed: int, page: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(MemoryBackend()) as memory,
        pytest.MonkeyPatch.context() as fix,
    ):
        fix.setattr(stored_rows, "PAGE", page)
        first, last = Path(folder, "first.db"), Path(folder, "last.db")
        write_evenings(first, evenings, games=games, seed=seed)
        memory.open(make=True)
        with open_source(f"sqlite:///{first}") as source:
            there = copy_ledger(source, memory)
        assert rows(memory) == rows_at(first)
        with open_target(f"sqlite:///{last}", memory) as target:
            back = copy_ledger(memory, target)
        assert rows_at(last) == rows_at(first)
        assert (
            (there.hash, there.sequence) == (back.hash, back.sequence) == (verify(f"sqlite:///{last}").hash, back.added)
        )


def test_a_later_copy_adds_what_was_recorded_since(tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    evenings = evenings_at(source, 1)
    with opened(source, target) as both:
        first = copy_ledger(*both)
        assert copy_ledger(*both).added == 0
        evenings.play()
        second = copy_ledger(*both)
    evenings.backend.close()
    assert second.added == second.sequence - first.sequence > 0
    assert rows_at(target) == rows_at(source)


def test_a_copy_goes_on_until_it_has_what_a_server_records_meanwhile(tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    evenings = evenings_at(source, 1)

    def record(progress: StepProgress) -> None:
        if progress.step in {"comparing", "verifying"} and len(evenings.signed) < 5:
            evenings.play()

    with opened(source, target) as both:
        copied = copy_ledger(*both, report=record)
    evenings.backend.close()
    assert len(evenings.signed) == 5
    assert copied.sequence == evenings.signed[-1].sequence
    assert rows_at(target) == rows_at(source)


@pytest.mark.parametrize("shorter", [True, False])
def test_a_target_that_holds_anything_else_is_refused_and_stays_as_it_was(tmp_path: Path, shorter: bool) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    write_evenings(source, 2)
    write_evenings(target, 1 if shorter else 3, seed=1)
    before = rows_at(target)
    with pytest.raises(TargetRefused, match="the target holds another ledger"), opened(source, target) as both:
        copy_ledger(*both)
    assert rows_at(target) == before


@pytest.mark.parametrize("more_in_source", [0, 2])
def test_a_copy_that_was_recorded_in_is_refused(tmp_path: Path, more_in_source: int) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    evenings = evenings_at(source, 1)
    with opened(source, target) as both:
        copy_ledger(*both)
    for _ in range(more_in_source):
        evenings.play()
    evenings.backend.close()
    with closing(SqliteBackend(f"sqlite:///{target}")) as backend:
        Evenings(backend, 5, evenings.signed[:1], number=50).play(games=1)
    before = rows_at(target)
    with pytest.raises(TargetRefused, match="is not that of the source"), opened(source, target) as both:
        copy_ledger(*both)
    assert rows_at(target) == before


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("UPDATE forecasts SET confidence = 0.9 WHERE sequence = 1", "entry 1: the row in forecasts"),
        ("UPDATE entries SET canonical = canonical || ' ' WHERE sequence = 12", "entry 12 or the one before"),
    ],
)
def test_a_copy_of_a_damaged_ledger_is_not_completed(tmp_path: Path, statement: str, where: str) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    write_evenings(source, 1)
    with closing(sqlite3.connect(source)) as database, database:
        database.execute(statement)
    with pytest.raises(LedgerCorrupt, match=where), opened(source, target) as both:
        copy_ledger(*both)
    assert epoch(target) != epoch(source)


def test_a_row_that_the_target_changed_is_found(tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    write_evenings(source, 1)
    with opened(source, target) as (reading, writing):
        copy_ledger(reading, writing)
        with writing.write() as connection:
            connection.execute(text("UPDATE forecasts SET confidence = 0.9 WHERE sequence = 1"))
        with pytest.raises(LedgerCorrupt, match="the row at 1 in forecasts differs"):
            copy_ledger(reading, writing)


def test_one_database_by_two_names_is_one(tmp_path: Path) -> None:
    write_evenings(tmp_path / "ledger.db", 0)
    (tmp_path / "link.db").symlink_to(tmp_path / "ledger.db")
    (tmp_path / "hard.db").hardlink_to(tmp_path / "ledger.db")
    for name in ("ledger.db", "link.db", "hard.db", "../" + tmp_path.name + "/ledger.db"):
        assert databases.same_database(f"sqlite:///{tmp_path}/ledger.db", f"sqlite:///{tmp_path}/{name}")
    assert not databases.same_database(f"sqlite:///{tmp_path}/ledger.db", f"sqlite:///{tmp_path}/other.db")
