"""Slots for browsers that catch up: no address gets all of them, and none is lost."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given
from hypothesis import strategies as st

from dejavu_gateway.live.slots import AddressSlots


async def turns(rounds: int = 20) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


async def test_an_address_that_takes_what_it_can_leaves_slots_for_others() -> None:
    slots = AddressSlots(4, 2)
    greedy = [asyncio.create_task(slots.acquire("a")) for _ in range(10)]
    await turns()
    assert sum(task.done() for task in greedy) == 2
    async with asyncio.timeout(30):
        for address in "bc":
            await slots.acquire(address)
    slots.release("a")
    await turns()
    assert sum(task.done() for task in greedy) == 3
    for task in greedy:
        task.cancel()


@given(seed=st.integers(0, 10_000), steps=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40))
def test_every_slot_comes_back_however_waits_end(seed: int, steps: list[tuple[str, bool]]) -> None:
    async def run() -> None:
        slots, rng = AddressSlots(3, 2), random.Random(seed)
        waiting = [(address, cancelled, asyncio.create_task(slots.acquire(address))) for address, cancelled in steps]
        while waiting:
            await turns(2)
            address, cancelled, task = waiting.pop(rng.randrange(len(waiting)))
            held = sum(task.done() for _, _, task in waiting) + task.done()
            assert held <= 3
            if task.done():
                slots.release(address)
            elif cancelled:
                task.cancel()
                await asyncio.wait([task])
            else:
                waiting.append((address, True, task))
        await turns()
        assert slots._own == {}
        async with asyncio.timeout(30):
            for address in "abc":
                await slots.acquire(address)

    asyncio.run(run())
