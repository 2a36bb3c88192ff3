"""Backup, restore and copy: all rows or nothing, of either database, while servers record and after kills."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.ledger.copies.evenings import Evenings, evenings_at, rows, rows_at, write_evenings
from tests.support.builders.empty_ledger import put_empty_ledger
from tests.support.harness.laws import examples
from tests.support.processes.postgres import database_without_ledger

from dejavu_ledger import LedgerCorrupt, LedgerUnavailable, verify
from dejavu_ledger.audit.chain import PAGE
from dejavu_ledger.copies import (
    CopiedLedger,
    Report,
    StepProgress,
    TargetRefused,
    back_up,
    copy_ledger,
    new_ledger_file,
    open_target,
    renew_epoch,
    restore,
)
from dejavu_ledger.database.backends import new_backend, read_only_ledger, same_database
from dejavu_ledger.database.sqlite import SqliteBackend
from dejavu_ledger.database.sqlite_engine import database_path
from dejavu_ledger.url import file_url, is_postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a ledger that does not exist yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/new/other.db"
    else:
        with database_without_ledger() as url:
            yield url


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def copy(source: str, target: str, report: Report = lambda _: None) -> CopiedLedger:
    with read_only_ledger(source) as reading, open_target(target, reading) as writing:
        return copy_ledger(reading, writing, report=report)


def content(url: str) -> dict[str, object]:
    """Return the rows of a ledger by table; those of its identity apart from the epoch."""
    with read_only_ledger(url) as backend:
        found = dict(rows(backend))
    return found | {"ledger": [row["ledger_id"] for row in found["ledger"]]}


def epoch(path: Path) -> str:
    return str(rows_at(path)["ledger"][0]["epoch"])


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def alter(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


def test_a_copy_and_its_backup_equal_the_ledger_row_by_row(source: Path, other: str) -> None:
    evenings = write_evenings(source, 4, games=9, lifecycle=True)
    copied, backup = copy(file_url(source), other), source.with_name("100%41.db")
    found = back_up(other, backup)
    assert PAGE < copied.sequence == copied.added == found.sequence == evenings.signed[-1].sequence
    assert content(other) == content(file_url(source))
    assert rows_at(backup) == rows_at(source)
    assert found == verify(other, evenings.signed[0]) == verify(file_url(source), evenings.signed[0])
    assert mode(backup) == 0o600
    assert files(source.parent) - {"new"} == {"ledger.db", "100%41.db"}
    assert copy(other, file_url(backup)).added == 0


def test_a_copy_goes_on_behind_its_newest_entry_until_it_has_what_is_recorded_meanwhile(
    source: Path, other: str
) -> None:
    evenings = evenings_at(source, 1)
    first = copy(file_url(source), other)

    def record(progress: StepProgress) -> None:
        if progress.step in {"copying", "verifying"} and len(evenings.signed) < 5:
            evenings.play()

    evenings.play()
    second = copy(file_url(source), other, record)
    evenings.backend.close()
    assert second.added == evenings.signed[4].sequence - first.sequence
    assert content(other) == content(file_url(source))


@pytest.mark.parametrize("there", [0, 3])
def test_a_ledger_that_holds_something_else_is_refused_and_stays_as_it_was(
    source: Path, tmp_path: Path, there: int
) -> None:
    """Whether it is shorter or longer, or was a copy in which something was recorded."""
    evenings, target = evenings_at(source, 2 - (not there)), tmp_path / "target.db"
    if there:
        write_evenings(target, there, seed=1)
    else:
        copy(file_url(source), file_url(target))
        with closing(SqliteBackend(file_url(target))) as backend:
            Evenings(backend, 5, evenings.signed[:1], number=50).play(games=1)
        evenings.play()
    evenings.backend.close()
    before, back = rows_at(target), back_up(file_url(source), tmp_path / "backup.db")
    assert back.sequence == evenings.signed[-1].sequence
    for fill in (partial(copy, file_url(source)), partial(restore, tmp_path / "backup.db")):
        with pytest.raises(TargetRefused, match="holds another ledger" if there else "is not that of the source"):
            fill(file_url(target))
    assert rows_at(target) == before


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("UPDATE forecasts SET confidence = 0.9 WHERE sequence = 1", "entry 1: the row in forecasts"),
        ("DELETE FROM entries WHERE sequence = 12", "entry 13"),
    ],
)
def test_damage_is_found_before_a_copy_or_backup_counts(
    source: Path, tmp_path: Path, statement: str, where: str
) -> None:
    write_evenings(source, 1)
    alter(source, statement)
    with pytest.raises(LedgerCorrupt, match=where):
        back_up(file_url(source), tmp_path / "backup.db")
    with pytest.raises(LedgerCorrupt, match=where):
        restore(source, file_url(tmp_path / "restored.db"))
    assert files(tmp_path) == {"ledger.db"}
    with pytest.raises(LedgerCorrupt, match=where):
        copy(file_url(source), file_url(tmp_path / "copy.db"))
    assert epoch(tmp_path / "copy.db") != epoch(source)


def test_a_row_that_was_altered_in_a_copy_is_found_by_the_next(source: Path, tmp_path: Path) -> None:
    write_evenings(source, 1)
    copy(file_url(source), file_url(tmp_path / "copy.db"))
    alter(tmp_path / "copy.db", "UPDATE forecasts SET confidence = 0.9 WHERE sequence = 1")
    with pytest.raises(LedgerCorrupt, match="entry 1: the row in forecasts"):
        copy(file_url(source), file_url(tmp_path / "copy.db"))


def test_a_backup_is_of_one_moment_while_a_server_records(source: Path, tmp_path: Path) -> None:
    evenings, ended = evenings_at(source, 2), threading.Event()

    def record() -> None:
        while not ended.is_set():
            evenings.play(games=1)

    recorder = threading.Thread(target=record)
    recorder.start()
    found = [back_up(file_url(source), tmp_path / f"{number}.db") for number in range(3)]
    ended.set()
    recorder.join()
    evenings.backend.close()
    assert {each.sequence for each in found} <= {each.sequence for each in evenings.signed}, "of whole transactions"


@pytest.mark.parametrize(("name", "step"), [("backup.db", ""), ("backup.db-wal", ""), ("backup.db", "verifying")])
def test_a_backup_overwrites_nothing(source: Path, tmp_path: Path, name: str, step: str) -> None:
    write_evenings(source, 1)

    def take(progress: StepProgress) -> None:
        if progress.step == step:
            (tmp_path / name).write_text("mine")

    take(StepProgress("", 0, 0))
    with pytest.raises(FileExistsError, match=f"{name} already exists"):
        back_up(file_url(source), tmp_path / "backup.db", take)
    assert files(tmp_path) == {"ledger.db", name}
    assert (tmp_path / name).read_text() == "mine"


def test_a_backup_without_space_or_beside_another_to_its_name_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_evenings(source, 1)
    with (
        new_ledger_file(tmp_path / "backup.db"),
        pytest.raises(LedgerUnavailable, match="another process is writing"),
    ):
        back_up(file_url(source), tmp_path / "backup.db")
    (tmp_path / "backup.db").unlink()
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=1, f_frsize=4096, f_blocks=1))
    with pytest.raises(LedgerUnavailable, match="no space for the copy"):
        back_up(file_url(source), tmp_path / "backup.db")
    assert files(tmp_path) == {"ledger.db"}


@pytest.mark.parametrize("there", ["nothing", "an empty file", "an empty ledger"])
def test_a_restored_ledger_has_every_row_and_an_epoch_of_its_own(source: Path, other: str, there: str) -> None:
    if there == "an empty ledger":
        with closing(new_backend(other)) as backend:
            backend.open(make=True)
    elif there == "an empty file" and not is_postgres(other):
        database_path(other).parent.mkdir()
        database_path(other).touch()
    write_evenings(source, 2)
    back_up(file_url(source), source.with_name("backup.db"))
    restored = restore(source.with_name("backup.db"), other)
    assert content(other) == content(file_url(source))
    assert verify(other) == verify(file_url(source))
    assert is_postgres(other) or mode(database_path(other)) == 0o600
    with read_only_ledger(other) as backend:
        [identity] = rows(backend)["ledger"]
    assert identity["epoch"] == restored.epoch != epoch(source), "by which the tokens of the old one expire"


def test_a_ledger_that_was_restored_by_other_means_gets_a_new_epoch_and_stays_as_it_was(source: Path) -> None:
    """As from a dump, which has the former epoch: once it grew past a token, its stream would miss entries."""
    write_evenings(source, 1)
    old, before = epoch(source), content(file_url(source))
    assert renew_epoch(file_url(source)) == epoch(source) != old
    assert content(file_url(source)) == before


def test_a_checkpoint_of_before_a_restore_shows_whether_the_restored_entries_were_changed(
    source: Path, tmp_path: Path
) -> None:
    evenings = evenings_at(source, 2)
    back_up(file_url(source), tmp_path / "backup.db")
    evenings.play()
    evenings.backend.close()
    url = file_url(tmp_path / "restored.db")
    restore(tmp_path / "backup.db", url)
    *before, lost = evenings.signed
    for kept in before:
        with pytest.raises(LedgerCorrupt, match="was restored or altered since"):
            verify(url, kept)
        verify(url, kept, restored=True)
    with pytest.raises(LedgerCorrupt, match="entries were removed: the ledger ends at"):
        verify(url, lost, restored=True)
    with closing(SqliteBackend(url)) as backend:
        Evenings(backend, 9, before, number=50).play(games=4)
    with pytest.raises(LedgerCorrupt, match="history was rewritten"):
        verify(url, lost, restored=True)


def test_one_database_by_two_names_is_one(source: Path, tmp_path: Path) -> None:
    write_evenings(source, 0)
    (tmp_path / "link.db").symlink_to(source)
    (tmp_path / "hard.db").hardlink_to(source)
    for name in ("ledger.db", "link.db", "hard.db", "../" + tmp_path.name + "/ledger.db"):
        assert same_database(file_url(source), file_url(tmp_path / name))
    assert not same_database(file_url(source), file_url(tmp_path / "other.db"))


def killed(work: Callable[[], object], after: float) -> None:
    """Run a function in a fork that is killed after some seconds."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_killed_copies_and_backups_are_incomplete_by_their_epoch_or_name_and_completed_by_the_next(
    source: Path, tmp_path: Path
) -> None:
    chance = random.Random(46)
    write_evenings(source, 5, games=8, lifecycle=True)
    began = time.monotonic()
    copy(file_url(source), file_url(tmp_path / "whole.db"))
    whole = time.monotonic() - began
    for number in range(examples(2)):
        target, backup = tmp_path / f"{number}.db", tmp_path / f"{number}.backup"
        put_empty_ledger(target)
        for _ in range(2):
            killed(lambda: copy(file_url(source), file_url(target)), chance.uniform(0.0, whole))  # noqa: B023 - runs at once
            held = rows_at(target)
            assert held["ledger"] != rows_at(source)["ledger"] or held == rows_at(source)
        copy(file_url(source), file_url(target))
        killed(lambda: back_up(file_url(source), backup), chance.uniform(0.0, whole))  # noqa: B023 - runs at once
        if not backup.exists():
            back_up(file_url(source), backup)
        assert rows_at(target) == rows_at(backup) == rows_at(source)
