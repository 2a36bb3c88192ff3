from __future__ import annotations

import os
import tracemalloc
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from tests.support.fakes.what_ifs import NOW, cached

from dejavu_server.forecasting.cache.memory import ENTRY_BYTES, MAX_ANSWER, MAX_REQUEST, MemoryCache

ROOM = 100 * (ENTRY_BYTES + 20)
"""Room for a hundred small answers."""


def test_an_answer_is_returned_until_it_is_too_old_and_not_before_it_was_made() -> None:
    cache = MemoryCache(ROOM)
    answer = cached(seconds=60)
    assert cache.put(b"request", answer, "a")
    assert cache.get(b"request", NOW) is answer
    assert cache.get(b"request", NOW + timedelta(seconds=59.9)) is answer
    assert cache.get(b"other", NOW) is None
    assert cache.get(b"request", NOW + timedelta(seconds=60)) is None
    assert (len(cache), cache.bytes) == (0, 0)
    cache.put(b"request", answer, "a")
    assert cache.get(b"request", NOW - timedelta(seconds=1)) is None, "the clock was set back"


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4000), st.sampled_from("abc")), max_size=60))
def test_the_bounds_hold_whatever_is_kept(entries: list[tuple[int, int, str]]) -> None:
    cache = MemoryCache(12_000, max_entries=6)
    for number, size, owner in entries:
        cache.put(b"%d" % number, cached(bytes(size)), owner)
        assert cache.bytes <= 12_000
        assert len(cache) <= 6
    cache.clear()
    assert (len(cache), cache.bytes) == (0, 0)


def test_an_entry_takes_no_more_memory_than_it_is_counted_with() -> None:
    cache = MemoryCache(64 * 2**20)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(3000):
            cache.put(os.urandom(80) + b"%d" % number, cached(os.urandom(300)), f"caller {number % 7}")
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(cache) == 3000
    assert after - before <= cache.bytes


def test_what_was_used_longest_ago_gives_way_first() -> None:
    cache = MemoryCache(ROOM, max_entries=3)
    for name in (b"1", b"2", b"3"):
        cache.put(name, cached(), "a")
    assert cache.get(b"1", NOW)
    cache.put(b"4", cached(), "a")
    assert [name for name in (b"1", b"2", b"3", b"4") if cache.get(name, NOW)] == [b"1", b"3", b"4"]
    assert cache.evictions == 1


def test_a_flood_of_one_caller_does_not_push_out_the_answers_of_another() -> None:
    cache = MemoryCache(ROOM)
    flooder = "10.0.0.1"
    other = next(name for name in map(str, range(1000)) if hash(name) % 64 != hash(flooder) % 64)
    for number in range(20):
        cache.put(b"mine %d" % number, cached(), other)
    for number in range(5000):
        cache.put(b"flood %d" % number, cached(), flooder)
    assert all(cache.get(b"mine %d" % number, NOW) for number in range(20))
    assert cache.bytes <= ROOM


def test_large_requests_and_answers_are_not_kept() -> None:
    cache = MemoryCache(2**20)
    assert not cache.put(bytes(MAX_REQUEST + 1), cached(), "a")
    assert not cache.put(b"1", cached(bytes(MAX_ANSWER + 1)), "a")
    assert not MemoryCache(ENTRY_BYTES).put(b"1", cached(), "a")
    assert len(cache) == 0
