"""The write-ahead log of SQLite is copied into the database beside the commits, not by them."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
from tests.support.builders.issued_forecasts import game, issued

from dejavu_ledger import Ledger
from dejavu_ledger.database.sqlite import wal_checkpointer

pytestmark = pytest.mark.sqlite


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nothing tells of a copy
            await asyncio.sleep(0.01)


def size(database: Path) -> int:
    return database.stat().st_size


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "wal-checkpointer"]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def test_what_was_committed_is_copied_soon(ledger: Ledger, database: Path) -> None:
    before = size(database)
    await ledger.commit([issued(game(n)) for n in range(20)])
    await eventually(lambda: size(database) > before)
    copied = size(database)
    await ledger.commit([issued(game(n)) for n in range(20, 40)])  # it goes on with what comes later
    await eventually(lambda: size(database) > copied)


async def test_a_copy_that_fails_fails_no_commit_and_is_made_later(
    ledger: Ledger, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Mock(side_effect=sqlite3.OperationalError("disk I/O error"))
    monkeypatch.setattr(wal_checkpointer, "connect", failing)
    before = size(database)
    await ledger.commit([issued(game(1))])
    await eventually(lambda: failing.called)
    monkeypatch.undo()
    stored = await ledger.commit([issued(game(n)) for n in range(2, 20)])
    assert len(stored) == 18
    assert await ledger.head() == 19
    await eventually(lambda: size(database) > before)


async def test_a_ledger_that_is_closed_leaves_no_thread_behind(url: str) -> None:
    ledger = await Ledger.open(url)
    await ledger.commit([issued(game(1))])
    assert threads()
    await ledger.close()
    assert not threads()
