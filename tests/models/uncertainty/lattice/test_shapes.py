"""Shapes: quantiles of residuals, and the share below any value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.uncertainty.lattice.shapes import SHAPE_LEVELS, cumulative, weighted_quantiles

SHAPE = weighted_quantiles(np.random.default_rng(0).normal(size=20_000), np.ones(20_000))


def test_the_share_below_is_continuous_and_reaches_0_and_1_only_in_the_limit() -> None:
    values = np.linspace(-30, 30, 4001)
    below = cumulative(SHAPE, values)
    assert (np.diff(below) >= 0).all()
    assert 0 <= below[0] < 1e-6 < 1 - 1e-6 < below[-1] <= 1
    assert np.abs(np.diff(below)).max() < 0.01
    assert cumulative(SHAPE, SHAPE) == pytest.approx(SHAPE_LEVELS)


def test_weights_count_like_repetitions() -> None:
    values = np.random.default_rng(1).normal(size=400)
    twice = weighted_quantiles(np.concatenate([values, values[:200]]), np.ones(600))
    weighted = weighted_quantiles(values, np.where(np.arange(400) < 200, 2.0, 1.0))
    body = slice(4, -4)
    assert weighted[body] == pytest.approx(twice[body], abs=0.1)


@given(size=st.integers(5, 300), seed=st.integers(0, 99))
def test_a_small_sample_has_tails_beyond_its_outermost_values(size: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=size)
    shape = weighted_quantiles(values, np.ones(size))
    assert (np.diff(shape) >= 0).all()
    assert shape[0] < shape[1] < shape[-2] < shape[-1]
    assert shape[0] < values.min()
    assert shape[-1] > values.max()
