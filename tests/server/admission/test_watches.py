"""Watches beyond the limit of a worker end those of the caller that has most of them."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.errors import DejavuError
from dejavu_server.admission.refusals import CallerLimit
from dejavu_server.admission.watches import Watches


class Room:
    """Watches that last until they are ended."""

    def __init__(self, most: int) -> None:
        self.watches = Watches(most, self.end)
        self.running: dict[asyncio.Task[None], str] = {}
        self.errors: list[DejavuError] = []

    def end(self, task: asyncio.Task[object], error: DejavuError) -> None:
        self.errors.append(error)
        task.cancel()

    async def watch(self, caller: str) -> None:
        """Begin a watch; raise if it is refused."""
        begun = asyncio.Event()

        async def last() -> None:
            with self.watches.counted(caller):
                begun.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(last())
        begins = asyncio.create_task(begun.wait())
        await asyncio.wait([task, begins], return_when=asyncio.FIRST_COMPLETED)
        begins.cancel()
        if not begun.is_set():
            await task
        self.running[task] = caller

    async def callers(self) -> Counter[str]:
        """Return the numbers of watches that go on, by caller."""
        await asyncio.sleep(0)
        return Counter(caller for task, caller in self.running.items() if not task.done())

    async def close(self) -> None:
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)


@given(st.lists(st.sampled_from("aaaabbc"), max_size=30), st.integers(1, 6))
async def test_no_more_go_on_than_may_and_who_has_few_keeps_them(callers: list[str], most: int) -> None:
    room, refused = Room(most), 0
    for caller in callers:
        before = await room.callers()
        try:
            await room.watch(caller)
        except CallerLimit:
            refused += 1
            assert before.total() == most
            assert before[caller] == max(before.values())
            continue
        after = await room.callers()
        assert after.total() <= most
        [ended] = (before + Counter([caller]) - after).elements() if before.total() == most else [None]
        assert ended is None or before[ended] == max(before.values())
    assert len(room.errors) == len(callers) - refused - (await room.callers()).total()
    assert all(isinstance(error, CallerLimit) for error in room.errors)
    await room.close()
