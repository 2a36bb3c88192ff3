"""Work is repeated until it is cancelled, whether or not it raises."""

from __future__ import annotations

import asyncio
import contextlib
import operator
from functools import partial

from dejavu_common.tasks import YIELD_TURNS, BackgroundTask, SharedWork, Turns, repeat


async def test_work_that_raises_is_reported_and_repeated() -> None:
    failures, done = list[None](), asyncio.Event()

    async def work() -> None:
        if len(failures) == 2:
            done.set()
        raise ValueError

    task = asyncio.create_task(repeat(0.0, work, lambda: failures.append(None), at_once=True))
    async with asyncio.timeout(10.0):
        await done.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_task_ends_though_what_it_awaits_loses_its_cancellation() -> None:
    """`asyncio.wait_for` loses it up to Python 3.11 if the awaited task ends in the same iteration of the loop."""
    lost = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if lost.is_set():
                raise
            lost.set()

    def unexpected() -> None:
        raise AssertionError("work does not raise")

    task = BackgroundTask()
    task.start(repeat(0.0, work, unexpected, at_once=True), "work")
    await asyncio.sleep(0)
    async with asyncio.timeout(30.0):
        await task.end()
    assert lost.is_set()
    assert not task.is_started


async def test_work_of_a_key_runs_once_for_all_who_await_it_and_again_once_it_ended() -> None:
    """It goes on if one of them gives up, and each gets what it raises."""
    begun, may_end = list[str](), asyncio.Event()

    async def work(name: str) -> str:
        begun.append(name)
        await may_end.wait()
        if name == "bad":
            raise ValueError(name)
        return name

    shared = SharedWork[str]()
    names = ("good", "good", "bad", "bad", "good")
    calls = [asyncio.create_task(shared.run(name, partial(work, name))) for name in names]
    await asyncio.sleep(0)
    calls.pop(0).cancel()
    may_end.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(result) for result in results] == ["good", "bad", "bad", "good"]
    assert [isinstance(result, ValueError) for result in results] == [False, True, True, False]
    assert begun == ["good", "bad"]
    assert await shared.run("good", partial(work, "good")) == "good"
    assert begun == ["good", "bad", "good"]


async def test_a_call_of_several_turns_is_answered_between_two_parts() -> None:
    done: list[str] = []

    async def call() -> None:
        for _ in range(YIELD_TURNS - 1):
            await asyncio.sleep(0)
        done.append("call")

    task = asyncio.create_task(call())
    await Turns(-1.0).map(done.append, ["first", "second"])
    await task
    assert done == ["call", "first", "second"]
    assert await Turns(-1.0).map(operator.sub, [5, 7], [1, 2]) == [4, 5]
