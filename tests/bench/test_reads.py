"""Benchmark of unread streams: it runs on a real server, and a broken bound is found."""

from __future__ import annotations

import json

import pytest
from bench.network import unread_streams


@pytest.mark.nightly
def test_unread_streams_are_measured_and_one_that_reads_gets_every_game() -> None:
    shown: list[str] = []
    options = ("--streams", "30", "--games", "60", "--churn-seconds", "1", "--workers", "1", "--json")
    code = unread_streams.main(options, show=shown.append)
    result = unread_streams.Result(**json.loads(shown[0]))
    assert code == bool(result.breaches(unread_streams.MOST_MIB))
    assert (result.read, result.faults) == (60, [])
    assert result.churned >= unread_streams.CHURNING
    assert [len(each) for each in (result.before, result.plain, result.unread, result.at_the_end)] == [1] * 4


def test_memory_of_unread_streams_beyond_its_bounds_is_found() -> None:
    sound = unread_streams.Result(
        before=[80.0, 90.0], unread=[110.0, 190.0], after_a_minute=[100.0, 100.0], at_the_end=[90.0, 110.0]
    )
    assert sound.breaches(most_mib=100.0) == []
    broken = unread_streams.Result(
        before=[80.0], unread=[181.0], after_a_minute=[100.0], at_the_end=[111.0], faults=["not in order"]
    )
    assert len(broken.breaches(most_mib=100.0)) == 3
