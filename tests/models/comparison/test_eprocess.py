"""E-processes: an expectation of at most 1 under their hypothesis, at any stopping time."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.comparison.eprocess import LARGEST, STAKES, WEIGHTS, below_zero, clipping_bounds, log_e_process

_BOUND = 0.3
_SEASONS = 200, 600
"""Simulated seasons, and games of each."""


@given(st.integers(2, 7), st.floats(0.0, 1.0), st.integers(0, 127), st.floats(1.0, 4.0))
def test_expectation_is_at_most_one_if_only_the_average_is_not_above_zero(
    games: int, drift: float, stop: int, growth: float
) -> None:
    """The mean of each game is +drift or −drift; the running average is never above 0. Any stopping rule is allowed.

    The possible loss of a game grows after each lost game, so stakes depend on the data.
    """
    expectation = 0.0
    for path in product((-1.0, 1.0), repeat=games):
        bounds = np.array([growth ** path[:index].count(-1.0) for index in range(games)])
        means = np.where(np.arange(games) % 2 == 0, -drift, drift)
        e_values = np.exp(log_e_process(means + np.array(path) * (bounds - drift), bounds + 1e-9))
        # A rule that depends only on the games so far: the bits of `stop` mark the games after which a loss stops it.
        end = next((i for i in range(games) if (stop >> i) & 1 and path[i] < 0), games - 1)
        expectation += e_values[end] / 2.0**games
    assert expectation <= 1.0 + 1e-9


def test_the_first_differences_are_clipped_and_one_that_came_often_counts_in_full() -> None:
    """One game worked out by hand: a difference of −7 counts as −0.3, and each stake λ, a share of 1 / 0.3, wins."""
    expected = sum(weight * (1.0 + stake / 0.3 * 0.3) for weight, stake in zip(WEIGHTS, STAKES, strict=True))
    assert math.exp(below_zero(np.array([-7.0]), _BOUND)[0]) == pytest.approx(expected)
    bounds = clipping_bounds(np.array([4.0] * LARGEST + [-5.0] * LARGEST + [0.0]), _BOUND)
    assert bounds.tolist() == [_BOUND] * LARGEST + [4.0] * LARGEST + [5.0]


@given(st.lists(st.floats(-2.0, 2.0), min_size=1, max_size=60).map(np.array))
def test_clipping_takes_less_than_the_five_largest_differences_in_all(differences: np.ndarray) -> None:
    bounds = clipping_bounds(differences, _BOUND)
    assert np.all(np.diff(bounds) >= 0.0)
    taken = np.maximum(np.abs(differences) - bounds, 0.0).sum()
    assert taken <= np.sort(np.abs(differences))[-LARGEST:].sum()


def test_bets_that_could_lose_more_than_is_staked_are_refused() -> None:
    for gains, bounds in (([-1.1], [1.0]), ([math.nan], [1.0]), ([0.0, 0.0], [2.0, 1.0])):
        with pytest.raises(ValueError, match="bound"):
            log_e_process(np.array(gains), np.array(bounds))


_RANDOM = np.random.default_rng(17)
_TWO_POINTS = _RANDOM.choice([-1.0, 1.0], size=_SEASONS)
"""The hardest distribution of a given spread."""

_FEW_BY_MUCH = _RANDOM.normal(-0.02, 0.02, _SEASONS) + 0.2 * (_RANDOM.random(_SEASONS) < 0.1)
"""Better by 0.02 in nine games of ten and worse by 0.18 in the tenth."""


@pytest.mark.parametrize(
    "differences",
    [
        pytest.param(0.02 * _TWO_POINTS, id="as of two seeds"),
        pytest.param(0.25 * _TWO_POINTS, id="as of two fits on other seasons"),
        pytest.param(0.6 * _TWO_POINTS, id="twice the first bound"),
        pytest.param(_FEW_BY_MUCH, id="few games by much"),
        pytest.param(10.0 * _TWO_POINTS, id="grossly"),
    ],
)
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["not worse", "worse"])
def test_error_rate_over_all_looks_of_a_season(differences: np.ndarray, sign: float) -> None:
    """Of a statement about an average that is not below 0, shown at any game from the 100th on.

    Since the first differences are clipped, the gate also requires an unclipped mean below the bound.
    """
    seasons = sign * differences
    means = np.cumsum(seasons, axis=1) / np.arange(1, seasons.shape[1] + 1)
    e_values = np.array([below_zero(season, _BOUND) for season in seasons])
    shown = (e_values >= math.log(20.0)) & (means < 0.0)
    assert shown[:, 99:].any(axis=1).mean() <= 0.05
