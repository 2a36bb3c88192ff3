"""Numbers as they are shown: points, probabilities, shares and intervals."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dejavu.v1.forecast_pb2 import WARNING_REASON_RATINGS_OUTDATED
from dejavu_client.formatting import chance, outcome_range, percent, signed, warning_label


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
    ("points", "digits", "text"), [(6.25, 1, "+6.2"), (-4, 1, "−4.0"), (-0.04, 1, "0.0"), (0, 0, "0"), (12, 0, "+12")]
)
def test_points_carry_their_sign(points: float, digits: int, text: str) -> None:
    assert signed(points, digits) == text


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


def test_a_share_is_as_precise_as_it_needs_to_be() -> None:
    assert [percent(share) for share in (0.95, 0.625, 0.8, 0.999)] == ["95 %", "62.5 %", "80 %", "99.9 %"]


def test_a_reason_of_a_later_release_is_shown_by_its_number() -> None:
    assert warning_label(WARNING_REASON_RATINGS_OUTDATED) == "ratings outdated"
    assert warning_label(cast("Any", 99)) == "99"
