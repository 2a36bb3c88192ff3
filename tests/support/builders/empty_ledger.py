"""An empty ledger for each of many examples, made once: its migrations take longer than most of what is tried on it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from dejavu_server.ledger import Ledger


@contextmanager
def empty_ledger() -> Iterator[str]:
    """The URL of an empty ledger, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.db")
        path.write_bytes(_template())
        yield f"sqlite:///{path}"


@cache
def _template() -> bytes:
    async def make(url: str) -> None:
        await (await Ledger.open(url)).close()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.db")
        asyncio.run(make(f"sqlite:///{path}"))
        return path.read_bytes()
