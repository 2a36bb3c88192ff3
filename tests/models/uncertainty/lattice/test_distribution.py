"""Distributions on whole numbers: all numbers about a differential come from one of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.uncertainty.lattice.distribution import (
    EDGES,
    LARGEST,
    VALUES,
    LatticeDistribution,
    from_cumulative,
)
from dejavu_models.uncertainty.lattice.shapes import SHAPE_LEVELS, cumulative, weighted_quantiles

SHAPE = weighted_quantiles(np.random.default_rng(0).normal(size=20_000), np.ones(20_000))


def distribution(center: float, scale: float, *, ties: bool) -> LatticeDistribution:
    return from_cumulative(cumulative(SHAPE, (EDGES[None, :] - center) / scale), ties=ties)


centers, scales = st.floats(-60, 60), st.floats(0.3, 20)


@given(center=centers, scale=scales, ties=st.booleans(), alpha=st.floats(0.002, 0.99))
def test_an_interval_has_whole_ends_and_at_most_half_of_alpha_beyond_each(
    center: float, scale: float, ties: bool, alpha: float
) -> None:
    made = distribution(center, scale, ties=ties)
    assert made.mass.sum() == pytest.approx(1)
    assert (made.mass >= 0).all()
    lower, upper = (int(end[0]) for end in made.intervals(alpha))
    below, above = made.mass[0, lower > VALUES].sum(), made.mass[0, upper < VALUES].sum()
    assert below <= alpha / 2 + 1e-9
    assert above <= alpha / 2 + 1e-9
    # One value less on either side would leave more than that outside.
    assert made.mass[0, lower >= VALUES].sum() >= alpha / 2 - 1e-9
    assert made.mass[0, upper <= VALUES].sum() >= alpha / 2 - 1e-9


@given(center=centers, scale=scales)
def test_no_game_ends_in_a_tie_and_no_side_is_impossible(center: float, scale: float) -> None:
    made = distribution(center, scale, ties=False)
    assert made.mass[0, LARGEST] == 0
    assert 0 < made.home_leads[0] < 1


@given(center=st.floats(-30, 30), scale=st.floats(0.5, 15), outcome=st.integers(-60, 60), ties=st.booleans())
def test_crps_is_the_expected_distance_less_half_of_that_of_two_draws(
    center: float, scale: float, outcome: int, ties: bool
) -> None:
    made = distribution(center, scale, ties=ties)
    mass = made.mass[0]
    distances = np.abs(VALUES[:, None] - VALUES[None, :])
    expected = mass @ np.abs(VALUES - outcome) - mass @ distances @ mass / 2
    assert made.crps(np.array([float(outcome)]))[0] == pytest.approx(expected, abs=1e-9)


def test_the_share_below_is_continuous_and_reaches_0_and_1_only_in_the_limit() -> None:
    values = np.linspace(-30, 30, 4001)
    below = cumulative(SHAPE, values)
    assert (np.diff(below) >= 0).all()
    assert 0 <= below[0] < 1e-6 < 1 - 1e-6 < below[-1] <= 1
    assert np.abs(np.diff(below)).max() < 0.01
    assert cumulative(SHAPE, SHAPE) == pytest.approx(SHAPE_LEVELS)


@given(size=st.integers(5, 300), seed=st.integers(0, 99))
def test_a_small_sample_has_tails_beyond_its_outermost_values(size: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=size)
    shape = weighted_quantiles(values, np.ones(size))
    assert (np.diff(shape) >= 0).all()
    assert shape[0] < shape[1] < shape[-2] < shape[-1]
    assert shape[0] < values.min()
    assert shape[-1] > values.max()
