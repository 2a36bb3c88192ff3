"""Numbers as they are shown: points, probabilities, shares and intervals."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dejavu.v1.forecast_pb2 import WARNING_REASON_RATINGS_OUTDATED
from dejavu_client.formatting import chance, outcome_range, warning_label


@given(st.floats(-60, 60), st.floats(0, 60), st.integers(-130, 130))
@example(-28.58, 18.0, -29)  # −29 is outside, and rounding the lower end would show it as inside: −29…
@example(-29.1, 18.0, -29)
@example(3.2, 0.4, 3)
def test_the_interval_shown_holds_exactly_the_outcomes_that_it_is_said_to_hold(
    lower: float, width: float, differential: int
) -> None:
    upper = lower + width
    shown = outcome_range(lower, upper)
    if "." in shown:
        assert math.ceil(lower) > upper, "no outcome is between them"
        return
    ends = [float(end.replace("−", "-")) for end in shown.split("…")]
    assert (ends[0] <= differential <= ends[1]) == (lower <= differential <= upper)


@pytest.mark.parametrize(
    ("probability", "read"),
    [
        (0, "0 %"),
        (1e-6, "<1 %"),
        (0.0099, "<1 %"),
        (0.01, "1 %"),
        (0.832, "83 %"),
        (0.99, "99 %"),
        (0.991, ">99 %"),
        (1, "100 %"),
    ],
)
def test_only_a_certainty_reads_as_one(probability: float, read: str) -> None:
    assert chance(probability) == read


def test_a_reason_of_a_later_release_is_shown_by_its_number() -> None:
    assert warning_label(WARNING_REASON_RATINGS_OUTDATED) == "ratings outdated"
    assert warning_label(cast("Any", 99)) == "99"
