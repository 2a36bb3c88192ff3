"""Work for many games yields to calls that arrive meanwhile."""

from __future__ import annotations

import asyncio
import operator

from dejavu_common.yielding import TURNS, Turns


async def test_results_are_those_of_map_however_often_it_gives_way() -> None:
    ones, others = [5, 7, 9, 11], [1, 2, 3, 4]
    for seconds in (-1.0, 0.0, 60.0):
        assert await Turns(seconds).map(operator.sub, ones, others) == [4, 5, 6, 7]


async def test_a_call_of_several_turns_is_answered_between_two_parts() -> None:
    done: list[str] = []

    async def call() -> None:
        for _ in range(TURNS - 1):
            await asyncio.sleep(0)
        done.append("call")

    task = asyncio.create_task(call())
    await Turns(-1.0).map(done.append, ["first", "second"])
    await task
    assert done == ["call", "first", "second"]


async def test_short_work_gives_way_to_nobody() -> None:
    done: list[str] = []
    asyncio.get_running_loop().call_soon(done.append, "call")
    await Turns(60.0).map(done.append, ["first", "second"])
    await asyncio.sleep(0)
    assert done == ["first", "second", "call"]
