"""The minutes of a horizon, in any order of reads: forecast once, or reported as missed once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client import FINAL
from dejavu_feed.live_inputs import LiveInputs
from dejavu_poller.horizons import HorizonState, forecast_minutes

ALL = range(1, 48)
NO_POINTS = LiveInputs(0)
looks = st.lists(st.tuples(st.integers(0, 47), st.booleans()), max_size=60)
"""Sequence of reads of a poller: number of completed minutes, and whether the server answers."""


@given(
    start=st.integers(1, 47),
    step=st.integers(1, 47),
    completed=st.integers(0, 48),
    able=st.tuples(*[st.integers(1, 47)] * 2),
)
def test_the_newest_minute_is_the_last_one_complete_that_is_wanted_and_known(
    start: int, step: int, completed: int, able: tuple[int, int]
) -> None:
    wanted, known = forecast_minutes(FINAL, start, step), range(min(able), max(able) + 1)
    expected = [minute for minute in range(1, 48) if minute in wanted and minute in known and minute <= completed]
    assert HorizonState(FINAL, wanted).minute(completed, known) == (expected[-1] if expected else None)


@given(looks=looks, step=st.integers(1, 9))
def test_every_minute_is_forecast_or_told_as_missed_and_none_twice(looks: list[tuple[int, bool]], step: int) -> None:
    watched = HorizonState(FINAL, forecast_minutes(FINAL, 6, step))
    asked, missed = list[int](), list[int]()
    for completed, answered in sorted(looks):
        minute = watched.minute(completed, ALL)
        if minute is None:
            continue
        pattern = (0,) * minute
        watched, due = watched.reached(pattern, NO_POINTS)
        watched, passed = watched.passed(minute, ALL)
        missed += passed
        if due and answered:
            asked.append(minute)
            watched = watched.accept(pattern, Forecast(), NO_POINTS)
    watched, passed = watched.passed(48, ALL)
    missed += passed

    assert sorted(asked + missed) == list(watched.minutes)
    assert watched.missed == len(missed)
    assert sorted(watched.forecasts) == asked


@given(looks=looks)
def test_no_pattern_is_asked_for_twice_in_whatever_order_minutes_come(looks: list[tuple[int, bool]]) -> None:
    watched = HorizonState(FINAL, forecast_minutes(FINAL, 6, 1))
    asked = list[int]()
    for completed, _ in looks:
        minute = watched.minute(completed, ALL)
        if minute is None:
            continue
        watched, due = watched.reached((0,) * minute, NO_POINTS)
        if due:
            asked.append(minute)
            watched = watched.accept((0,) * minute, Forecast(), NO_POINTS)

    assert len(asked) == len(set(asked))
