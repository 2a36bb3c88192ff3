"""Fixtures of an open, empty ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.processes.postgres import ledger_url
from tests.support.processes.servers import put_missing_ledger

from dejavu_ledger import Ledger


@pytest.fixture
def url(tmp_path: Path) -> str:
    return ledger_url(tmp_path, "ledger.db")


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[Ledger]:
    put_missing_ledger(url)
    opened = await Ledger.open(url)
    yield opened
    await opened.close()
