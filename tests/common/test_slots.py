"""Work that waits for slots: callers take turns, and few requests do not yield to many."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from dejavu_common.slots import FairSlots, TooManyWaitError

MOST = 4


class Reads:
    """Reads of callers that last until they are ended."""

    def __init__(self) -> None:
        self.slots = FairSlots(1, max_waiting=MOST)
        self.running: list[str] = []
        self.order: list[str] = []
        self.asked: dict[asyncio.Task[None], str] = {}
        self.ends = asyncio.Event()

    async def ask(self, caller: str) -> asyncio.Task[None]:
        asked = asyncio.create_task(self._read(caller))
        self.asked[asked] = caller
        await settle()
        return asked

    async def end(self) -> None:
        """End the read that runs."""
        self.ends.set()
        await settle()

    def waiting(self) -> Counter[str]:
        """Return the numbers of reads that wait, by caller."""
        return Counter(caller for asked, caller in self.asked.items() if not asked.done()) - Counter(self.running)

    async def close(self) -> None:
        for asked in self.asked:
            asked.cancel()
        await asyncio.gather(*self.asked, return_exceptions=True)

    async def _read(self, caller: str) -> None:
        await self.slots.acquire(caller)
        self.running.append(caller)
        self.order.append(caller)
        try:
            await self.ends.wait()
            self.ends.clear()
        finally:
            self.running.remove(caller)
            self.slots.release(caller)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


STEPS = st.lists(st.one_of(st.sampled_from("aaaabbc"), st.just("end"), st.integers(0, 30)), max_size=40)


@given(STEPS)
async def test_one_reads_at_a_time_and_only_who_waits_with_most_is_refused(steps: list[str | int]) -> None:
    """A letter asks, "end" ends the read that runs, and a number cancels a read."""
    reads = Reads()
    for step in steps:
        before = reads.waiting()
        if step == "end":
            if reads.running:
                await reads.end()
                assert bool(reads.running) == bool(before)
        elif isinstance(step, int):
            list(reads.asked)[step].cancel() if step < len(reads.asked) else None
            await settle()
        else:
            asked = await reads.ask(step)
            failed = [each for each in reads.asked if each.done() and not each.cancelled() and each.exception()]
            for each in failed:
                assert isinstance(each.exception(), TooManyWaitError)
                assert before.total() == MOST
                assert before[reads.asked.pop(each)] == max(before.values())
                assert (each is asked) == (before[step] == max(before.values()))
        assert len(reads.running) <= 1
        assert bool(reads.running) or not reads.waiting()
        assert reads.waiting().total() <= MOST
    await reads.close()
    assert not reads.running


async def test_callers_have_their_turns() -> None:
    reads = Reads()
    for caller in "aaaab":
        await reads.ask(caller)
    for _ in range(5):
        await reads.end()
    assert "".join(reads.order) == "aabaa"
    await reads.close()
