"""Work for many games lets calls through that arrive meanwhile."""

from __future__ import annotations

import asyncio
import operator

from dejavu_common.yielding import TURNS, map_yielding


async def test_results_are_those_of_map_whatever_the_rows_per_turn() -> None:
    ones, others = [5, 7, 9, 11], [1, 2, 3, 4]
    for per_turn in (1, 3, 100):
        assert await map_yielding(operator.sub, ones, others, per_turn=per_turn) == [4, 5, 6, 7]


async def test_a_call_of_several_turns_is_answered_between_two_parts() -> None:
    done: list[str] = []

    async def call() -> None:
        for _ in range(TURNS - 1):
            await asyncio.sleep(0)
        done.append("call")

    task = asyncio.create_task(call())
    await map_yielding(done.append, ["first", "second", "third", "fourth"], per_turn=2)
    await task
    assert done == ["first", "second", "call", "third", "fourth"]
