"""Whoever commits, in whatever order, with reads that fail: a tail returns every entry once, in order."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from contextlib import aclosing
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.harness.laws import examples

from dejavu_ledger import LedgerUnavailable
from dejavu_ledger.database.store import ChainHead
from dejavu_ledger.recording import Appended
from dejavu_ledger.records import IssuedForecast
from dejavu_ledger.tail import MAX_HANDED, PAGE_SIZE, Entry, Tail

NEVER = 3600.0

OWN, OWN_MARKET, FOREIGN, FOREIGN_MARKET, UNANNOUNCED, OUTCOME, FAILURE, TURN, IDLE = range(9)


class Entries:
    """A ledger of numbered entries; some are of a kind that a tail does not return.

    Attributes:
        head: sequence of the newest entry.
        wanted: sequences that a tail returns.
        failures: how many of the next reads fail.
        reads: how often it was read.
    """

    def __init__(self) -> None:
        self.head = 0
        self.wanted: list[int] = []
        self.failures = 0
        self.reads = 0

    def add(self, count: int, *, market: bool) -> Appended:
        """Append forecasts, and another kind of entry after them; return what a writer would hand over."""
        after = self.head
        sequences = range(after + 1, after + count + 1)
        self.wanted += sequences
        self.head = after + count + market
        forecasts = [cast("IssuedForecast", _Entry(sequence)) for sequence in sequences]
        return Appended(after, tuple(forecasts), self.head)

    async def read_after(self, sequence: int, limit: int) -> list[Entry]:
        """Return the entries committed at the beginning or at the end of the read, as a database could."""
        self.reads += 1
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise LedgerUnavailable("for the moment")
        first = bisect_right(self.wanted, sequence)
        page = [_Entry(each) for each in self.wanted[first : first + limit]]
        await asyncio.sleep(0)
        return cast("list[Entry]", page)

    async def newest(self) -> ChainHead:
        """Return the position of the newest wanted entry at the time when the read begins."""
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise LedgerUnavailable("for the moment")
        newest = self.wanted[-1] if self.wanted else 0
        await asyncio.sleep(0)
        return ChainHead(newest, b"")


class _Entry:
    hash = b""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence


counts = st.sampled_from([1, 2, PAGE_SIZE - 1, PAGE_SIZE, MAX_HANDED])
operations = st.lists(st.tuples(st.sampled_from(range(9)), counts), max_size=40)


@settings(deadline=None, max_examples=examples(40))
@given(operations)
def test_a_tail_returns_every_entry_once_in_order_unless_its_reader_is_idle(taken: list[tuple[int, int]]) -> None:
    asyncio.run(_follow_entries(taken))


class Follower:
    """Follows entries with a tail; after every failure, a new tail continues from the position of the last one."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self.found: list[int] = []
        self.idle = False
        self.skipped: set[int] = set()
        self.tail = Tail(entries, 0, self)

    def skip_to(self, position: ChainHead) -> None:
        assert self.idle
        self.skipped.update(each for each in self._entries.wanted if self.reached < each <= position.sequence)

    @property
    def reached(self) -> int:
        """The newest entry that was found or skipped; 0 if there is none."""
        return max(self.found[-1] if self.found else 0, max(self.skipped, default=0))

    async def run(self) -> None:
        while True:
            try:
                async with aclosing(self.tail.pages(NEVER, lambda: False)) as pages:
                    async for page in pages:
                        assert page
                        self.found.extend(entry.sequence for entry in page)
                        await asyncio.sleep(0)
            except LedgerUnavailable:
                self.tail = Tail(self._entries, self.reached, self)


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _follow_entries(taken: list[tuple[int, int]]) -> None:
    entries = Entries()
    follower = Follower(entries)
    following = asyncio.create_task(follower.run())
    await asyncio.sleep(0)
    for kind, count in taken:
        if kind == FAILURE:
            entries.failures = 1
        elif kind == TURN:
            await _turns(min(count, 4))
        elif kind == IDLE:
            follower.idle = not follower.idle
        else:
            appended = entries.add(count, market=kind in (OWN_MARKET, FOREIGN_MARKET))
            if kind in (OWN, OWN_MARKET):
                follower.tail.hand(appended)
            elif kind != UNANNOUNCED:
                follower.tail.wake()
    follower.tail.wake()
    async with asyncio.timeout(20):
        while entries.wanted and follower.reached < entries.wanted[-1]:
            assert not following.done()
            await asyncio.sleep(0)
    await _turns(20)
    reads = entries.reads
    await _turns(20)
    assert entries.reads == reads, "it sleeps"
    following.cancel()
    await asyncio.wait([following])
    assert follower.found == sorted(follower.found)
    assert sorted([*follower.found, *follower.skipped]) == entries.wanted
    if IDLE not in {kind for kind, _ in taken}:
        assert not follower.skipped
