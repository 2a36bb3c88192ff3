"""Empty ledgers, created once per run and copied: creating one takes longer than many tests.

Tests that apply to any database get their ledger from `ledger_url`: in PostgreSQL with DEJAVU_TEST_LEDGER=postgresql,
else in SQLite.
"""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from tests.support.builders.made_once import made_once
from tests.support.processes.postgres import on_postgres, shared_server

from dejavu_ledger import Ledger


def ledger_url(folder: Path, name: str = "ledger.sqlite3") -> str:
    """Return the URL of the ledger with a name in a folder; equal arguments give the same ledger.

    In PostgreSQL, the first call creates the ledger, empty; it is dropped at the end of the test. In SQLite, the ledger
    does not exist until it is opened.
    """
    if on_postgres():
        return shared_server().named_ledger(str(folder / name))
    return f"sqlite:///{folder / name}"


def put_empty_ledger(path: Path) -> None:
    """Copy an empty ledger to a path. All copies have the same ledger id and epoch."""
    shutil.copyfile(_template(), path)


@cache
def _template() -> Path:
    def make(folder: Path) -> None:
        folder.mkdir()
        with ThreadPoolExecutor(1) as thread:  # the caller may have a running event loop
            thread.submit(asyncio.run, _make(f"sqlite:///{folder / 'ledger.db'}")).result()

    return made_once("empty-ledger", make) / "ledger.db"


async def _make(url: str) -> None:
    await (await Ledger.open(url)).close()
