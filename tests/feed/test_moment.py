"""Moments: their place in a game, and what a request may not say of them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_feed.horizon import MAX_SLOTS, Horizon
from dejavu_feed.moment import LAST_PERIOD, Moment, moment_fault, moment_of
from dejavu_feed.pattern import elapsed_seconds, period_seconds

HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL


@pytest.mark.parametrize(
    ("moment", "elapsed", "slots", "to_half", "to_end"),
    [
        (Moment(1, 660, 2), 60, 1, 1380, 2820),
        (Moment(2, 0.4, 2), 1439.6, 23, 0.4, 1440.4),
        (Moment(4, 61, 2), 2819, 46, None, 61),
        (Moment(4, 60, 2), 2820, 47, None, 60),
        (Moment(4, 0, 0), 2880, 47, None, 300),
        (Moment(5, 300, 0), 2880, 47, None, 300),
        (Moment(5, 12, 3), 3168, 47, None, 12),
        (Moment(6, 0, 0), 3480, 47, None, 300),
    ],
)
def test_a_moment_has_its_place_in_the_game(
    moment: Moment, elapsed: float, slots: int, to_half: float | None, to_end: float
) -> None:
    assert moment.elapsed == pytest.approx(elapsed)
    assert moment.slots == slots
    assert moment.seconds_to(FINAL) == pytest.approx(to_end)
    assert moment.is_overtime == (elapsed >= 2880)
    if to_half is not None:
        assert moment.seconds_to(HALF) == pytest.approx(to_half)


@pytest.mark.parametrize(
    ("moment", "slots", "horizon", "field", "expected"),
    [
        (Moment(0, 1, 0), 46, FINAL, "moment.period", "1 to 24"),
        (Moment(LAST_PERIOD + 1, 1, 0), 47, FINAL, "moment.period", "1 to 24"),
        (Moment(4, math.nan, 0), 47, FINAL, "moment.seconds_left", "0 to 720"),
        (Moment(4, -0.1, 0), 47, FINAL, "moment.seconds_left", "0 to 720"),
        (Moment(4, 1e-13, 3), 47, FINAL, "moment.seconds_left", "at least 0.01"),
        (Moment(5, 300.5, 0), 47, FINAL, "moment.seconds_left", "0 to 300"),
        (Moment(4, 30, 201), 47, FINAL, "moment.differential", "within ±200"),
        (Moment(4, 30, 3, 4), 47, FINAL, "moment.free_throws", "0 to 3"),
        (Moment(4, 30, 3, -1), 47, FINAL, "moment.free_throws", "0 to 3"),
        (Moment(5, 0, 0, 2), 47, FINAL, "moment.seconds_left", "at least 0.01 with free throws to come"),
        (Moment(1, 661, 0), 1, FINAL, "moment", "at least 60 s"),
        (Moment(2, 0, 0), 23, HALF, "moment", "first half"),
        (Moment(4, 30, 0), 23, HALF, "moment", "first half"),
        (Moment(4, 0, 1), 47, FINAL, "moment", "before it, or a tie"),
        (Moment(6, 0, -1), 47, FINAL, "moment", "before it, or a tie"),
        (Moment(5, 300, 7), 47, FINAL, "moment.differential", "begins with a tie"),
        (Moment(4, 61, 0), 47, FINAL, "pattern", "46, the complete minutes"),
        (Moment(4, 59, 0), 46, FINAL, "pattern", "47, the complete minutes"),
        (Moment(3, 660, 5), 25, FINAL, "moment.differential", "3, as the pattern says"),
    ],
)
def test_an_impossible_moment_is_refused_by_its_field(
    moment: Moment, slots: int, horizon: Horizon, field: str, expected: str
) -> None:
    fault = moment_fault(moment, (3.0,) * slots, horizon)
    assert fault is not None
    assert fault.field == field
    assert expected in fault.expected


@pytest.mark.parametrize(("period", "horizon", "slots"), [(2, HALF, 23), (4, FINAL, 47), (5, FINAL, 47)])
@pytest.mark.parametrize("lead", [-2, 0, 3])
def test_free_throws_at_no_time_left_are_of_the_last_hundredth_of_their_period(
    period: int, horizon: Horizon, slots: int, lead: int
) -> None:
    moment = moment_of(period, 0.0, lead, 2)
    assert moment == Moment(period, 0.01, lead, 2)
    assert moment_fault(moment, (3.0,) * slots, horizon) is None
    assert moment.elapsed < elapsed_seconds(period, 0.0)
    assert moment_of(period, 0.0, lead) == Moment(period, 0.0, lead)


@given(st.integers(1, LAST_PERIOD), st.floats(0, 1), st.integers(-30, 30))
def test_every_other_moment_is_accepted_after_its_complete_minutes(period: int, share: float, lead: int) -> None:
    left = share * period_seconds(period)
    moment = Moment(period, 0.0 if left < 0.01 else left, lead)
    if moment.elapsed < 60:
        return
    if moment.is_overtime and moment.seconds_left in (0, period_seconds(5)):
        moment, lead = replace(moment, differential=0), 0
    pattern = (*[0.0] * (moment.slots - 1), float(lead))
    assert moment_fault(moment, pattern, FINAL) is None
    assert 1 <= moment.slots <= MAX_SLOTS
    assert 0 < moment.seconds_to(FINAL) <= 2820
