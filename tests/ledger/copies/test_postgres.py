"""A ledger moves from SQLite to PostgreSQL and back unchanged, and is backed up and restored there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.ledger.copies.evenings import rows, rows_at, write_evenings
from tests.support.processes.postgres import postgres_ledger

from dejavu_ledger import verify
from dejavu_ledger.copies.backup import back_up, restore
from dejavu_ledger.copies.databases import open_source, open_target
from dejavu_ledger.copies.ledger_copy import TargetRefused, copy_ledger
from dejavu_ledger.database.postgres.backend import PostgresBackend


@pytest.fixture
def database() -> Iterator[str]:
    with postgres_ledger() as url:
        yield url


def copy(source: str, target: str) -> int:
    with open_source(source) as reading, open_target(target, reading) as writing:
        return copy_ledger(reading, writing).added


def test_a_ledger_comes_back_from_postgresql_row_by_row(database: str, tmp_path: Path) -> None:
    first, last = tmp_path / "first.db", tmp_path / "last.db"
    evenings = write_evenings(first, 3, lifecycle=True)
    assert copy(f"sqlite:///{first}", database) == evenings.signed[2].sequence
    assert copy(database, f"sqlite:///{last}") > 0
    assert rows_at(last) == rows_at(first)
    assert verify(database, evenings.signed[1]) == verify(f"sqlite:///{last}", evenings.signed[1])
    assert copy(database, f"sqlite:///{last}") == 0


@pytest.mark.nightly
def test_a_ledger_in_postgresql_is_backed_up_to_a_file_and_restored_from_it(database: str, tmp_path: Path) -> None:
    write_evenings(tmp_path / "ledger.db", 2)
    copy(f"sqlite:///{tmp_path}/ledger.db", database)
    back_up(database, tmp_path / "backup.db")
    assert rows_at(tmp_path / "backup.db") == rows_at(tmp_path / "ledger.db")
    with postgres_ledger() as other:
        restored = restore(tmp_path / "backup.db", other)
        with closing(PostgresBackend(other)) as backend:
            there = dict(rows(backend))
        assert there["ledger"][0]["epoch"] == restored.epoch
        here = dict(rows_at(tmp_path / "backup.db"))
        assert here.pop("ledger")[0]["epoch"] != restored.epoch
        assert there | {"ledger": None} == here | {"ledger": None}
    write_evenings(tmp_path / "other.db", 1, seed=4)
    with pytest.raises(TargetRefused, match="another ledger"):
        restore(tmp_path / "other.db", database)
