"""A full disk at any point of the ledger's writes leaves nothing partially written."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.builders.issued_forecasts import game, issued, recorded

from dejavu_ledger import Ledger, LedgerError, LedgerUnavailable, verify

pytestmark = pytest.mark.sqlite

STEP = 4096


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """Limit the size of every file that this process writes; a write may be cut anywhere."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


async def test_a_ledger_that_could_not_be_made_is_made_later_whatever_was_left_of_it(tmp_path: Path) -> None:
    refused = 0
    for size in range(0, 64 * STEP, 8 * STEP):
        url = f"sqlite:///{tmp_path}/{size}.db"
        with files_no_longer_than(size):
            try:
                await (await Ledger.open(url)).close()
            except LedgerUnavailable:
                refused += 1
        ledger = await Ledger.open(url)
        [stored] = await recorded(ledger, issued())
        await ledger.close()
        assert stored.sequence == 1
        assert verify(url).sequence == 1
    assert 0 < refused < 8  # otherwise the chosen sizes prove nothing


async def test_what_was_refused_for_want_of_room_leaves_no_trace(url: str, tmp_path: Path) -> None:
    """At every file size: exactly the acknowledged forecasts are stored, and the chain is intact.

    Closing moves the write-ahead log into the database, which has no room for it.
    """
    ledger = await Ledger.open(url)
    acknowledged: list[str] = []
    refused = 0
    for number in range(60):
        with files_no_longer_than(max(length(tmp_path / "ledger.db-wal"), 8 * STEP) + number * 3001 % (8 * STEP)):
            try:
                stored = await recorded(ledger, issued(game(number)), issued(game(1000 + number)))
                acknowledged += [each.game_id for each in stored]
            except LedgerError:
                refused += 1
        if number % 10 == 0:
            assert verify(url).sequence == len(acknowledged)
    assert 5 < refused < 55
    entries = await ledger.read_after(0, 1000)
    assert [entry.game_id for entry in entries] == acknowledged
    assert [entry.sequence for entry in entries] == list(range(1, len(acknowledged) + 1))
    with files_no_longer_than(10 * STEP):
        await ledger.close()
    assert verify(url).sequence == len(acknowledged)
    again = await Ledger.open(url)
    assert await again.read_after(0, 1000) == entries
    await again.close()
