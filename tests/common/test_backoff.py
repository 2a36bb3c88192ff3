from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dejavu_common.backoff import Backoff


def test_delays_double_up_to_the_longest_and_start_again_after_a_reset() -> None:
    backoff = Backoff(0.25, 5.0)
    assert [backoff.next() for _ in range(7)] == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.next() == 0.25


@given(first=st.floats(0.001, 10.0), longest=st.floats(10.0, 1000.0), factor=st.floats(1.0, 10.0))
def test_delays_never_shrink_and_never_exceed_the_longest(first: float, longest: float, factor: float) -> None:
    backoff = Backoff(first, longest, factor)
    delays = [backoff.next() for _ in range(20)]
    assert delays[0] == first
    assert max(delays) <= longest
    assert all(earlier <= later for earlier, later in pairwise(delays))
