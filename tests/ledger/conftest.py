from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.builders.record_book import RecordBook, new_book
from tests.support.processes.ledgers import ledger, url  # noqa: F401 - fixtures


@pytest.fixture
def book(tmp_path: Path) -> Iterator[RecordBook]:
    """An empty record, in `ledger.db`."""
    with new_book(tmp_path) as made:
        yield made
