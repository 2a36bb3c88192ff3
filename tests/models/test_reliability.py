"""Reliability shows how often the home team led beside how often it was forecast to, with a game as the unit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.models.settled_forecasts import settled

from dejavu_models.scorecard import scorecard

_PROBABILITIES = st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=1, max_size=30)


def test_reliability_of_a_case_worked_out_by_hand() -> None:
    """A game with two minutes, one of them in the bin, has half the weight in it of a game with one."""
    rows = [
        {"probability": 0.72, "home_led": False},
        {"minute": 30, "probability": 0.2, "home_led": False},
        {"game": 1, "probability": 0.78, "home_led": True},
        {"game": 2, "probability": 1.0, "home_led": True},
    ]
    low, middle, high = scorecard(settled(*rows)).reliability
    assert (low.from_probability, low.to_probability, low.games, low.forecasts, low.rate) == (0.2, 0.3, 1, 1, 0.0)
    assert (middle.games, middle.forecasts) == (2, 2)
    assert middle.mean_probability == pytest.approx((0.5 * 0.72 + 0.78) / 1.5)
    assert middle.rate == pytest.approx(1 / 1.5)
    trials = 1.5**2 / (0.5**2 + 1.0)
    centre = (2 / 3 + 1.96**2 / (2 * trials)) / (1 + 1.96**2 / trials)
    assert (middle.lower + middle.upper) / 2 == pytest.approx(centre, abs=1e-4)
    assert (high.from_probability, high.to_probability, high.rate, high.upper) == (0.9, 1.0, 1.0, 1.0)


@given(_PROBABILITIES, st.integers(2, 5))
def test_bins_of_reliability_hold_every_forecast_once_and_their_intervals_the_rate(
    told: list[tuple[float, bool]], times: int
) -> None:
    once = [{"game": game // 2, "probability": p, "home_led": led} for game, (p, led) in enumerate(told)]
    bins = scorecard(settled(*once, *[once[0]] * times)).reliability
    assert sum(each.forecasts for each in bins) == len(once) + times
    for each in bins:
        assert each.from_probability <= each.mean_probability + 1e-9 <= each.to_probability + 2e-9
        assert 0 <= each.lower <= each.rate <= each.upper <= 1
