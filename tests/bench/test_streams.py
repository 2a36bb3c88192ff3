"""Subscribers that connect and leave on a real server: no losses, no leaks."""

from __future__ import annotations

import json

import pytest
from bench.streams import Result, main


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_thousand_that_come_and_go_miss_nothing_and_leave_nothing_behind() -> None:
    shown: list[str] = []
    options = ("--subscribers", "1000", "--waves", "5", "--stalled", "10", "--forecasts", "6000", "--json")
    assert main([*options], show=shown.append) == 0
    result = Result(**json.loads(shown[0]))
    assert result.subscribers >= 1000
    assert result.cut_off == 20  # each of the ten that stall, in both halves
    assert result.resumed_over >= 6000  # several pages, while more are published


def test_whatever_is_lost_or_left_behind_is_found() -> None:
    sound = Result(pss_mib=[100.0, 110.0, 120.0], descriptors=[50, 60])
    assert sound.breaches() == []
    broken = Result(lost=1, twice=1, out_of_order=1, in_flight=1.0, pss_mib=[100.0, 110.0, 140.0], descriptors=[50, 80])
    assert broken.breaches() == ["lost", "twice", "out_of_order", "in_flight", "descriptors", "pss_mib"]
