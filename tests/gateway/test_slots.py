"""Slots for live streams and for reads: no address gets all of them.

That every slot comes back: tests/common/test_slots.py.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from dejavu_common.slots import NoSlotError, StreamSlots


@given(opened=st.lists(st.sampled_from("aaaabbcdef"), max_size=60))
def test_streams_share_their_slots_by_address(opened: list[str]) -> None:
    """Whatever came before, a new address gets a slot: that of the oldest stream of the address with the most."""
    number, per_address = 6, 4
    slots, evicted = StreamSlots(number, per_address), list[int]()
    held: list[tuple[str, int]] = []  # address and place in `opened`, oldest first
    with contextlib.ExitStack() as streams:
        for place, address in enumerate([*opened, "new"]):
            counts = Counter(each for each, _ in held)
            full, most = len(held) == number, max(counts.values(), default=0)
            try:
                streams.enter_context(slots.held(address, partial(evicted.append, place)))
            except NoSlotError:
                assert counts[address] == per_address or (full and counts[address] == most)
                assert address != "new"
            else:
                if full:
                    loser = next(each for each in held if counts[each[0]] == most)
                    held.remove(loser)
                    assert evicted.pop() == loser[1]
                held.append((address, place))
            assert not evicted
    with contextlib.ExitStack() as streams:  # all slots came back
        for address in "123456":
            streams.enter_context(slots.held(address, partial(evicted.append, 0)))
    assert not evicted
