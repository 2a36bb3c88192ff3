"""Slots for live streams and for reads: no address gets all of them.

That every slot comes back: tests/common/test_slots.py.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_common.slots import NoSlotError, StreamSlots
from dejavu_gateway.limits import AddressSlots, SlotLimits


def test_so_many_requests_are_in_line_of_an_address_and_no_more_however_many_others_are() -> None:
    slots = AddressSlots(SlotLimits(4, per_address=2, in_line=3))
    with contextlib.ExitStack() as line:
        for number in range(300):
            line.enter_context(slots.in_line(f"{number // 3}"))
        with pytest.raises(NoSlotError, match="your address has 3 requests in line already"), slots.in_line("0"):
            pass
        with slots.in_line("one more"):
            pass
    with slots.in_line("0"):
        pass


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
