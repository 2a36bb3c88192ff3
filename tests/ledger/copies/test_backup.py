"""A backup is a consistent ledger of one moment, complete or absent; a ledger restored from it has another epoch."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from tests.ledger.copies.evenings import Evenings, evenings_at, rows_at, write_evenings

from dejavu_ledger import Ledger, LedgerCorrupt, LedgerUnavailable, ResumeTokenExpired, verify
from dejavu_ledger.audit.verification import Verification
from dejavu_ledger.copies import backup
from dejavu_ledger.copies.backup import back_up, renew_epoch, restore
from dejavu_ledger.copies.ledger_copy import StepProgress, TargetRefused
from dejavu_ledger.database.sqlite import backup as sqlite_backup
from dejavu_ledger.database.sqlite.backend import SqliteBackend


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_backup_is_one_private_file_with_every_row(tmp_path: Path) -> None:
    write_evenings(tmp_path / "ledger.db", 2)
    found = back_up(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "backup.db")
    assert files(tmp_path) == {"ledger.db", "backup.db"}
    assert stat.S_IMODE((tmp_path / "backup.db").stat().st_mode) == 0o600
    assert rows_at(tmp_path / "backup.db") == rows_at(tmp_path / "ledger.db")
    assert found == verify(f"sqlite:///{tmp_path}/ledger.db")


def test_a_backup_is_of_the_moment_at_which_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_backup, "PAGES", 4)
    evenings = evenings_at(tmp_path / "ledger.db", 2)
    before = rows_at(tmp_path / "ledger.db")

    def record(progress: StepProgress) -> None:
        if progress.step == "copying pages" and len(evenings.signed) < 6:
            evenings.play()

    back_up(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "backup.db", record)
    evenings.backend.close()
    assert len(evenings.signed) == 6
    assert rows_at(tmp_path / "backup.db") == before


@pytest.mark.parametrize("name", ["backup.db", "backup.db-wal"])
def test_nothing_that_is_there_is_overwritten(tmp_path: Path, name: str) -> None:
    write_evenings(tmp_path / "ledger.db", 1)
    (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match=f"{name} already exists"):
        back_up(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "backup.db")
    assert files(tmp_path) == {"ledger.db", name}
    assert (tmp_path / name).read_text() == "mine"


def test_a_damaged_ledger_leaves_no_backup(tmp_path: Path) -> None:
    write_evenings(tmp_path / "ledger.db", 1)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
        database.execute("UPDATE forecasts SET confidence = 0.9 WHERE sequence = 1")
    with pytest.raises(LedgerCorrupt, match="entry 1"):
        back_up(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "backup.db")
    assert files(tmp_path) == {"ledger.db"}


def test_a_disk_without_space_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_evenings(tmp_path / "ledger.db", 1)
    monkeypatch.setattr(backup, "MARGIN_BYTES", 2**62)
    with pytest.raises(LedgerUnavailable, match="no space for the copy"):
        back_up(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "backup.db")
    assert files(tmp_path) == {"ledger.db"}


@pytest.mark.parametrize("there", ["nothing", "an empty file", "an empty ledger"])
def test_a_restored_ledger_has_every_row_and_another_epoch(tmp_path: Path, there: str) -> None:
    write_evenings(tmp_path / "ledger.db", 2)
    back_up(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "backup.db")
    target = tmp_path / "new" / "restored.db"
    if there != "nothing":
        target.parent.mkdir()
        if there == "an empty file":
            target.touch()
        else:
            write_evenings(target, 0)
    restored = restore(tmp_path / "backup.db", f"sqlite:///{target}")
    mine, other = dict(rows_at(tmp_path / "ledger.db")), dict(rows_at(target))
    [old], [new] = mine.pop("ledger"), other.pop("ledger")
    assert new == old | {"epoch": restored.epoch} != old
    assert mine == other
    found: Verification = verify(f"sqlite:///{target}")
    assert found == verify(f"sqlite:///{tmp_path}/ledger.db")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600 or there == "an empty ledger"


async def test_tokens_of_the_old_ledger_expire_in_the_restored_one(tmp_path: Path) -> None:
    write_evenings(tmp_path / "ledger.db", 1)
    back_up(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "backup.db")
    old = await Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    tokens = [old.token(sequence) for sequence in (0, 3, await old.head())]
    await old.close()
    restore(tmp_path / "backup.db", f"sqlite:///{tmp_path}/restored.db")
    new = await Ledger.open(f"sqlite:///{tmp_path}/restored.db")
    for token in tokens:
        with pytest.raises(ResumeTokenExpired, match="before the ledger was restored"):
            await new.resume_position(token)
    assert await new.resume_position(new.token(3)) == 3
    await new.close()


async def test_tokens_expire_in_a_ledger_that_was_restored_by_other_means(tmp_path: Path) -> None:
    """As from a dump, which has the former epoch: once it grew past a token, its stream would miss entries."""
    write_evenings(tmp_path / "ledger.db", 1)
    url = f"sqlite:///{tmp_path}/ledger.db"
    old = await Ledger.open(url)
    token = old.token(3)
    await old.close()
    before = verify(url)
    renew_epoch(url)
    assert verify(url) == before
    new = await Ledger.open(url)
    with pytest.raises(ResumeTokenExpired, match="before the ledger was restored"):
        await new.resume_position(token)
    await new.close()


def test_a_checkpoint_of_before_a_restore_shows_whether_what_was_restored_was_changed(tmp_path: Path) -> None:
    evenings = evenings_at(tmp_path / "ledger.db", 2)
    back_up(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "backup.db")
    evenings.play()
    evenings.backend.close()
    url = f"sqlite:///{tmp_path}/restored.db"
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


def test_a_ledger_with_entries_is_not_overwritten_by_a_backup(tmp_path: Path) -> None:
    write_evenings(tmp_path / "ledger.db", 2)
    write_evenings(tmp_path / "other.db", 1, seed=3)
    back_up(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "backup.db")
    before = rows_at(tmp_path / "other.db")
    with pytest.raises(TargetRefused, match="another ledger"):
        restore(tmp_path / "backup.db", f"sqlite:///{tmp_path}/other.db")
    assert rows_at(tmp_path / "other.db") == before


def test_a_damaged_backup_is_not_restored(tmp_path: Path) -> None:
    write_evenings(tmp_path / "ledger.db", 1)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database, database:
        database.execute("DELETE FROM forecasts WHERE sequence = 1")
    with pytest.raises(LedgerCorrupt, match="entry 1"):
        restore(tmp_path / "ledger.db", f"sqlite:///{tmp_path}/restored.db")
    assert not (tmp_path / "restored.db").exists()
    with pytest.raises(LedgerUnavailable, match="no ledger at"):
        restore(tmp_path / "nowhere.db", f"sqlite:///{tmp_path}/restored.db")


def test_a_name_that_was_taken_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    write_evenings(tmp_path / "ledger.db", 1)
    with pytest.raises(FileExistsError, match="already exists"):
        back_up(
            f"sqlite:///{tmp_path}/ledger.db",
            tmp_path / "backup.db",
            lambda _: (tmp_path / "backup.db").touch(),
        )
    assert files(tmp_path) == {"ledger.db", "backup.db"}
    assert (tmp_path / "backup.db").read_bytes() == b""


def test_two_backups_to_one_name_at_once_are_refused(tmp_path: Path) -> None:
    write_evenings(tmp_path / "ledger.db", 1)
    with (
        sqlite_backup.new_ledger_file(tmp_path / "backup.db"),
        pytest.raises(LedgerUnavailable, match="another process is writing"),
        sqlite_backup.new_ledger_file(tmp_path / "backup.db"),
    ):
        pass
