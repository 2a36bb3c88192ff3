"""Empty ledgers, created once per run and copied: creating one takes longer than many tests."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from tests.support.builders.made_once import made_once

from dejavu_ledger import Ledger


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
