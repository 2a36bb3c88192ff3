"""Work is repeated until it is cancelled, whether or not it raises."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from dejavu_common.tasks import repeat


@pytest.mark.parametrize("at_once", [True, False])
async def test_work_that_raises_is_reported_and_repeated(at_once: bool) -> None:
    turns, failures, done = 0, 0, asyncio.Event()

    async def work() -> None:
        nonlocal turns
        turns += 1
        if turns == 3:
            done.set()
        raise ValueError

    def failed() -> None:
        nonlocal failures
        failures += 1

    task = asyncio.create_task(repeat(0.0, work, failed, at_once=at_once))
    async with asyncio.timeout(10.0):
        await done.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert turns == 3
    assert failures in {2, 3}
