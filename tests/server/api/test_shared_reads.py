"""Reads of the ledger wait in turn, up to a maximum number, and no caller fills the queue."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from dejavu.v1 import record_service_pb2 as pb
from dejavu_ledger.database.backend import StopSignal
from dejavu_server.admission.refusals import Overloaded
from dejavu_server.api.shared_reads import MAX_WAITING, SharedReads

ANSWER = pb.GetScorecardResponse()


class Line:
    """Reads that end when they may."""

    def __init__(self) -> None:
        self.reads = SharedReads()
        self.may_end = asyncio.Event()
        self.begun: list[str] = []

    async def _read(self, _: StopSignal, key: str) -> pb.GetScorecardResponse:
        self.begun.append(key)
        await self.may_end.wait()
        return ANSWER

    async def ask(self, key: str, caller: str = "") -> asyncio.Task[pb.GetScorecardResponse]:
        """Ask for a read, and return once it runs, waits or was refused."""
        asked = asyncio.create_task(self.reads.get(key, partial(self._read, key=key), caller))
        for _ in range(10):
            await asyncio.sleep(0)
        return asked


async def test_too_many_different_reads_are_refused_and_the_others_answered() -> None:
    line = Line()
    asked = [await line.ask(str(number)) for number in range(MAX_WAITING + 1)]  # one reads, the others wait
    with pytest.raises(Overloaded, match=f"{MAX_WAITING} other reads"):
        await (await line.ask("one more"))
    asked.append(await line.ask("0"))
    line.may_end.set()
    assert await asyncio.gather(*asked) == [ANSWER] * len(asked)
    assert await (await line.ask("one more")) == ANSWER


async def test_nobody_waits_in_the_turn_of_a_caller_who_asked_first_and_for_much() -> None:
    """Otherwise a caller who shared a waiting read would wait behind all reads of the one who began it."""
    line = Line()
    greedy = [await line.ask(str(number), "greedy") for number in range(20)]
    greedy.append(await line.ask("what all ask", "greedy"))
    same = [await line.ask("what all ask", caller) for caller in ("one", "other", "one")]
    line.may_end.set()
    async with asyncio.timeout(30):
        assert await asyncio.gather(*same) == [ANSWER] * 3
    assert sum(asked.done() for asked in greedy) < 6
    await asyncio.gather(*greedy)
    assert line.begun.count("what all ask") == 1


async def test_a_caller_that_asks_for_all_that_it_can_leaves_room_for_others() -> None:
    line = Line()
    greedy = [await line.ask(str(number), "greedy") for number in range(80)]
    assert sum(asked.done() for asked in greedy) == 80 - 1 - MAX_WAITING
    others = [await line.ask(f"of {other}", other) for other in "abc"]
    line.may_end.set()
    assert await asyncio.gather(*others) == [ANSWER] * 3
    assert await (await line.ask("again", "greedy")) == ANSWER
    refused = [error for error in await asyncio.gather(*greedy, return_exceptions=True) if error != ANSWER]
    assert [type(error) for error in refused] == [Overloaded] * (80 - 1 - MAX_WAITING + 3)
