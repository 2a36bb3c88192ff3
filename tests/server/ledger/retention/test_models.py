"""What is removed takes its shadows along; what changed the models is never lost; copies and backups have both."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select
from tests.server.ledger.retention.evenings import KEY, Evenings, evenings_at, rows_at
from tests.support.builders import full_ledger
from tests.support.builders.model_changes import change

from dejavu_models.registry.stages import ModelAction, Roster
from dejavu_server.forecasting.online_updater import OnlineProjection
from dejavu_server.ledger import LedgerCorrupt, verify
from dejavu_server.ledger.database import store
from dejavu_server.ledger.database.backend import Backend
from dejavu_server.ledger.database.schema import shadows
from dejavu_server.ledger.entries import codec
from dejavu_server.ledger.errors import ModelsChanged
from dejavu_server.ledger.queries import model_changes
from dejavu_server.ledger.retention import pruning
from dejavu_server.ledger.retention.backup import back_up, restore
from dejavu_server.ledger.retention.prune_plan import PrunePlan, plan
from dejavu_server.results import Failed

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def evenings(tmp_path: Path) -> Iterator[Evenings]:
    made = evenings_at(tmp_path / "ledger.db", 4, seed=2, lifecycle=True)
    yield made
    made.backend.close()


def planned(backend: Backend, through: int) -> PrunePlan:
    with backend.read() as connection:
        return plan(connection, through=through, now=NOW)


def prune(evenings: Evenings, evening: int, step: int = 500) -> PrunePlan:
    made = planned(evenings.backend, evenings.signed[evening].sequence)
    statement = pruning.begin(evenings.backend, made, KEY, NOW)
    pruning.remove(evenings.backend, statement, step=step, pause=lambda _: None)
    return made


def roster(backend: Backend) -> Roster:
    with backend.read() as connection:
        return model_changes.read_roster(connection)


def intervals(backend: Backend) -> bytes:
    projection = OnlineProjection({}, intervals=True)
    with backend.read() as connection:
        projection.read(connection)
    return projection.intervals.to_bytes()


def count_shadows(backend: Backend) -> int:
    with backend.read() as connection:
        number: int = connection.execute(select(func.count()).select_from(shadows)).scalar_one()
        return number


def test_a_pruned_ledger_still_knows_every_change_and_its_roster(evenings: Evenings, tmp_path: Path) -> None:
    before = roster(evenings.backend)
    with evenings.backend.read() as connection:
        history = model_changes.newest_changes(connection, 100)
    for evening, removed, left in ((1, 4, 2), (3, 2, 0)):  # once, and once more
        assert prune(evenings, evening).model_changes == removed
        assert roster(evenings.backend) == before
        with evenings.backend.read() as connection:
            assert model_changes.newest_changes(connection, 100) == history
            assert model_changes.newest_change(connection) == before.sequence
        assert verify(f"sqlite:///{tmp_path}/ledger.db").model_changes == left
    with evenings.backend.write() as connection:
        after, added = model_changes.append_change(
            connection, model_changes.read_roster(connection), change(ModelAction.UNLOAD, "v2"), NOW
        )
    assert added is not None
    assert roster(evenings.backend) == after != before
    assert verify(f"sqlite:///{tmp_path}/ledger.db").model_changes == 1


def test_the_shadows_of_what_is_removed_go_with_it_and_every_step_is_valid(evenings: Evenings, tmp_path: Path) -> None:
    before, learned, url = (
        count_shadows(evenings.backend),
        intervals(evenings.backend),
        f"sqlite:///{tmp_path}/ledger.db",
    )
    made = planned(evenings.backend, evenings.signed[2].sequence)
    statement = pruning.begin(evenings.backend, made, KEY, NOW)
    seen: list[int] = []

    def look(at: int) -> None:
        found = verify(url)
        assert found.shadows == count_shadows(evenings.backend)
        seen.append(at)

    pruning.remove(evenings.backend, statement, look, step=12, pause=lambda _: None)
    assert len(seen) > 4
    assert made.shadows > 0
    assert count_shadows(evenings.backend) == before - made.shadows
    assert intervals(evenings.backend) == learned


def test_the_writer_knows_which_change_stands_also_once_it_was_pruned(evenings: Evenings) -> None:
    prune(evenings, 3)
    stands = roster(evenings.backend).sequence
    made = replace(full_ledger.recordable(900), roster_sequence=stands)
    with evenings.backend.write() as connection:
        [kept] = store.append(connection, [codec.prepare(made)])
        [other] = store.append(connection, [codec.prepare(replace(full_ledger.recordable(901), roster_sequence=0))])
    assert not isinstance(kept, Failed)
    assert isinstance(other, Failed)
    assert isinstance(other.error, ModelsChanged)
    assert other.error.sequence == stands


def test_what_stands_for_removed_changes_is_signed(evenings: Evenings, tmp_path: Path) -> None:
    prune(evenings, 1)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
        [(state,)] = database.execute("SELECT state FROM snapshots WHERE part = 'pruned-models'").fetchall()
        database.execute("DELETE FROM snapshots WHERE part = 'pruned-models'")
    with pytest.raises(LedgerCorrupt):
        verify(f"sqlite:///{tmp_path}/ledger.db")
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
        database.execute("INSERT INTO snapshots VALUES ('pruned-models', ?, ?)", (evenings.signed[1].sequence, state))
    verify(f"sqlite:///{tmp_path}/ledger.db")


def test_a_backup_and_what_is_restored_from_it_have_both(evenings: Evenings, tmp_path: Path) -> None:
    prune(evenings, 1)
    before, found = roster(evenings.backend), verify(f"sqlite:///{tmp_path}/ledger.db")
    assert min(found.shadows, found.model_changes) > 0
    back_up(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "backup.db")
    restore(tmp_path / "backup.db", f"sqlite:///{tmp_path}/restored.db")
    with closing(evenings_at(tmp_path / "restored.db", 0).backend) as restored:
        assert roster(restored) == before
    again = verify(f"sqlite:///{tmp_path}/restored.db")
    assert (again.shadows, again.model_changes, again.hash) == (found.shadows, found.model_changes, found.hash)
    mine, other = rows_at(tmp_path / "ledger.db"), rows_at(tmp_path / "restored.db")
    assert [mine[name] for name in ("entries", "shadows", "model_changes")] == [
        other[name] for name in ("entries", "shadows", "model_changes")
    ]
