"""Shared reads of a value that changes: the answer that a caller gets, and the effect of a failed read on the next."""

from __future__ import annotations

import asyncio

import pytest

from dejavu_ledger import LedgerUnavailable
from dejavu_server.api.interceptors import clear_frames
from dejavu_server.api.shared_reads import LatestRead


class Reads:
    """Reads that return their number once they may end; some fail.

    Attributes:
        failing: numbers of those that fail.
        began, may_end: one count for each read.
    """

    def __init__(self) -> None:
        self.failing: set[int] = set()
        self.began, self.may_end = asyncio.Semaphore(0), asyncio.Semaphore(0)
        self._started = 0

    async def read(self) -> int:
        """Return how many reads were started."""
        self._started += 1
        number = self._started
        self.began.release()
        await self.may_end.acquire()
        if number in self.failing:
            raise LedgerUnavailable("a disk")
        return number


@pytest.fixture
def reads() -> Reads:
    return Reads()


async def test_a_caller_gets_the_value_of_a_read_that_started_after_it_asked(reads: Reads) -> None:
    latest, reads.failing = LatestRead(reads.read), {2}
    first = asyncio.create_task(latest.get())
    await reads.began.acquire()
    later = [asyncio.create_task(latest.get()) for _ in range(5)]
    await asyncio.sleep(0)
    reads.may_end.release()
    assert await first == 1
    await reads.began.acquire()
    last = asyncio.create_task(latest.get())
    await asyncio.sleep(0)
    reads.may_end.release()
    for error in await asyncio.gather(*later, return_exceptions=True):
        assert isinstance(error, LedgerUnavailable)
    reads.may_end.release()
    assert await last == 3


async def test_callers_of_a_read_that_is_cancelled_do_not_wait_for_ever() -> None:
    async def read() -> int:
        raise asyncio.CancelledError

    async with asyncio.timeout(30):
        [ended] = await asyncio.gather(LatestRead(read).get(), return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError)


async def test_what_is_cleared_of_a_failed_read_does_not_end_the_read_after_it(reads: Reads) -> None:
    latest, reads.failing = LatestRead(reads.read), {1}
    first = asyncio.create_task(latest.get())
    await reads.began.acquire()
    later = asyncio.create_task(latest.get())
    await asyncio.sleep(0)
    reads.may_end.release()
    with pytest.raises(LedgerUnavailable) as failed:
        await first
    clear_frames(failed.value)  # as the server does with an error that ends a call
    reads.may_end.release()
    assert await later == 2
