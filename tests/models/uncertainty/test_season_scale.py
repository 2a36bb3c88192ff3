from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.types import Horizon
from dejavu_models.uncertainty.adaptive import Tracker
from dejavu_models.uncertainty.issued import adapters
from dejavu_models.uncertainty.score_map import MAX_SCORE
from dejavu_models.uncertainty.season_scale import BOUNDS, SeasonScale, pooled

SQUARES = st.lists(st.floats(0, MAX_SCORE**2), max_size=40)


def after(squares: list[float]) -> SeasonScale:
    state = SeasonScale()
    for square in squares:
        state = state.after(square)
    return state


@pytest.mark.parametrize("volatility", [0.9, 1.0, 1.1])
def test_the_factor_nears_the_spread_of_the_scores(volatility: float) -> None:
    rng = random.Random(3)
    factor = after([rng.gauss(0, volatility) ** 2 for _ in range(4000)]).factor
    # About two thirds of the weight lies on games, the rest on the prior.
    assert factor == pytest.approx((1 + (volatility**2 - 1) * 0.66) ** 0.5, abs=0.05)


@given(SQUARES)
def test_no_outcomes_move_the_factor_beyond_its_bounds(squares: list[float]) -> None:
    assert BOUNDS[0] <= after(squares).factor <= BOUNDS[1]


@given(SQUARES)
def test_rounding_keeps_the_factor(squares: list[float]) -> None:
    assert after(squares).rounded(9).factor == pytest.approx(after(squares).factor, abs=1e-9)


def test_all_quarters_of_a_horizon_share_one_factor() -> None:
    wild, calm = Tracker(), Tracker()
    for _ in range(100):
        wild, calm = wild.after(1.3), calm.after(0.9)
    trackers = {(Horizon.FINAL, 0): wild, (Horizon.FINAL, 3): calm, (Horizon.HALFTIME, 0): calm}
    found = adapters(trackers)
    factors = {key: adapter.map(1.0) for key, adapter in found.items()}
    assert factors[Horizon.FINAL, 0] == factors[Horizon.FINAL, 3]
    assert factors[Horizon.FINAL, 0] == pytest.approx(pooled([wild.season, calm.season]).factor)
    assert factors[Horizon.HALFTIME, 0] == pytest.approx(calm.season.factor)
