from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_common.clock import Backoff, from_microseconds, microseconds


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - with UTC
def test_microseconds_are_exact(time: datetime) -> None:
    assert from_microseconds(microseconds(time)) == time


@pytest.mark.parametrize(
    "time",
    [datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=-5)))],  # noqa: DTZ001 - the point
)
def test_a_time_that_is_not_in_utc_is_refused(time: datetime) -> None:
    with pytest.raises(ValueError, match="not a time in UTC"):
        microseconds(time)


def test_delays_double_up_to_the_longest_and_start_again_after_a_reset() -> None:
    backoff = Backoff(0.25, 5.0)
    assert [backoff.next() for _ in range(7)] == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.next() == 0.25
