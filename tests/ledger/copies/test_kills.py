"""Backup and copy are killed at random moments; what they leave is sound, and the next run completes it.

The processes are forks: nothing of them but files is left after SIGKILL.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.ledger.copies.evenings import rows_at, write_evenings
from tests.support.harness.laws import examples
from tests.support.processes.empty_ledger import put_empty_ledger

from dejavu_ledger.copies import stored_rows
from dejavu_ledger.copies.backup import back_up
from dejavu_ledger.copies.databases import open_source, open_target
from dejavu_ledger.copies.ledger_copy import copy_ledger

ROUNDS = examples(2)
KILLS = 2
"""Number of processes that are killed, one after the other, before one is allowed to end."""

SEED = 46


def killed(work: Callable[[], object], after: float) -> bool:
    """Run a function in a process that is killed after some seconds; return whether it had not ended before."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0, "it failed by itself"
    return False


def duration(work: Callable[[], object]) -> float:
    """Return how long a function takes, in seconds."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_rows, "PAGE", 6)


def test_a_killed_copy_is_completed_by_the_next(tmp_path: Path) -> None:
    source, chance = tmp_path / "source.db", random.Random(SEED)
    write_evenings(source, 2, lifecycle=True)

    def copy(target: Path) -> None:
        with open_source(f"sqlite:///{source}") as reading, open_target(f"sqlite:///{target}", reading) as writing:
            copy_ledger(reading, writing)

    put_empty_ledger(tmp_path / "0.db")
    whole = duration(lambda: copy(tmp_path / "0.db"))
    for number in range(1, ROUNDS + 1):
        target = tmp_path / f"{number}.db"
        put_empty_ledger(target)
        for _ in range(KILLS):
            killed(lambda: copy(target), chance.uniform(0.0, whole))  # noqa: B023 - it runs at once
            held = rows_at(target)
            complete = held["ledger"] == rows_at(source)["ledger"]
            assert not complete or held == rows_at(source), "it has the source's epoch once it is complete"
        copy(target)
        assert rows_at(target) == rows_at(source)


@pytest.mark.nightly
def test_a_killed_backup_leaves_no_file_by_that_name_unless_it_is_complete(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    write_evenings(tmp_path / "ledger.db", 3, lifecycle=True)
    url = f"sqlite:///{tmp_path}/ledger.db"
    whole = duration(lambda: back_up(url, tmp_path / "0.db"))
    for number in range(1, ROUNDS + 1):
        target = tmp_path / f"{number}.db"
        killed(lambda: back_up(url, target), chance.uniform(0.0, whole))  # noqa: B023 - it runs at once
        if not target.exists():
            back_up(url, target)
        assert rows_at(target) == rows_at(tmp_path / "ledger.db")
