"""E-processes are what they say: worth 1 at most under their hypothesis, whenever somebody stops."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.comparison.eprocess import STAKES, WEIGHTS, log_e_process, not_worse, worse

_MARGIN, _BOUND = 0.02, 0.5
_DIFFERENCES = st.lists(st.floats(-2.0, 2.0), min_size=1, max_size=30).map(np.array)


def test_without_a_game_the_capital_is_one() -> None:
    assert sum(WEIGHTS) == pytest.approx(1.0)
    assert len(log_e_process(np.empty(0), 1.0)) == 0


@given(st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=6))
def test_expectation_over_all_outcomes_is_at_most_one(games: list[tuple[float, float]]) -> None:
    """Computed exactly over every path: game i gains gain_i with a probability that makes its mean 0 or less."""
    expectation = 0.0
    for path in product((True, False), repeat=len(games)):
        gains, chance = [], 1.0
        for won, (gain, loss) in zip(path, games, strict=True):
            win_chance = loss / (gain + loss)  # gain · p = loss · (1 − p)
            gains.append(gain if won else -loss)
            chance *= win_chance if won else 1.0 - win_chance
        expectation += chance * math.exp(log_e_process(np.array(gains), 1.0)[-1])
    assert expectation == pytest.approx(1.0) or expectation < 1.0


@given(st.integers(2, 6), st.floats(0.0, 1.0), st.integers(0, 63))
def test_expectation_is_at_most_one_if_only_the_average_is_not_above_zero(games: int, drift: float, stop: int) -> None:
    """The mean of each game is +drift or −drift, never above 0 on average so far, and someone stops as he likes."""
    means = [-drift if index % 2 == 0 else drift for index in range(games)]
    spread = 1.0 - drift
    expectation = 0.0
    for path in product((-1.0, 1.0), repeat=games):
        gains = np.array([mean + sign * spread for mean, sign in zip(means, path, strict=True)])
        e_values = np.exp(log_e_process(gains, 1.0 + 1e-9))
        # A rule that looks at the games so far only: the bits of `stop` say after which first results to stop.
        end = next((i for i in range(games) if (stop >> i) & 1 and path[i] < 0), games - 1)
        expectation += e_values[end] / 2.0**games
    assert expectation <= 1.0 + 1e-9


@given(_DIFFERENCES)
def test_both_statements_are_never_shown_at_once(differences: np.ndarray) -> None:
    """Their bets are against each other."""
    both = np.minimum(not_worse(differences, _MARGIN, _BOUND), worse(differences, _MARGIN, _BOUND))
    assert both.max() < math.log(2.0)


@given(_DIFFERENCES)
def test_an_earlier_value_does_not_depend_on_later_games(differences: np.ndarray) -> None:
    whole = not_worse(differences, _MARGIN, _BOUND)
    for count in range(1, len(differences)):
        assert not_worse(differences[:count], _MARGIN, _BOUND) == pytest.approx(whole[:count])


@given(_DIFFERENCES, st.floats(0.0, 1.0))
def test_a_better_model_has_more_evidence(differences: np.ndarray, gain: float) -> None:
    better = differences - gain
    assert np.all(not_worse(better, _MARGIN, _BOUND) >= not_worse(differences, _MARGIN, _BOUND) - 1e-9)
    assert np.all(worse(better, _MARGIN, _BOUND) <= worse(differences, _MARGIN, _BOUND) + 1e-9)


def test_differences_beyond_the_bound_count_as_the_bound() -> None:
    assert not_worse(np.array([7.0, -9.0]), _MARGIN, _BOUND) == pytest.approx(
        not_worse(np.array([_BOUND, -_BOUND]), _MARGIN, _BOUND)
    )


def test_one_game_worked_out_by_hand() -> None:
    """A game that is better by 0.1: each stake λ wins λ · 0.12, with λ a share of 1 / 0.48."""
    expected = sum(weight * (1.0 + stake / 0.48 * 0.12) for weight, stake in zip(WEIGHTS, STAKES, strict=True))
    assert math.exp(not_worse(np.array([-0.1]), _MARGIN, _BOUND)[0]) == pytest.approx(expected)


@pytest.mark.parametrize("loss", [-1.1, math.nan])
def test_a_gain_outside_the_bound_is_refused(loss: float) -> None:
    with pytest.raises(ValueError, match="a loss is larger than"):
        log_e_process(np.array([loss]), 1.0)


@pytest.mark.parametrize(
    "spread",
    [
        pytest.param(0.02, id="as of two seeds"),
        pytest.param(0.25, id="as of two fits on other seasons"),
        pytest.param(0.45, id="almost as large as the bound"),
    ],
)
def test_error_rate_over_all_looks_of_a_season(spread: float) -> None:
    """1,000 seasons of 1,300 games, each game looked at, of a model that is worse by exactly the margin."""
    random = np.random.default_rng(17)
    signs = random.choice([-1.0, 1.0], size=(1000, 1300))
    differences = _MARGIN + spread * signs  # two-point distributions are the hardest of a spread
    shown = sum(not_worse(season, _MARGIN, _BOUND).max() >= math.log(20.0) for season in differences)
    assert shown <= 0.05 * 1000
    shown = sum(worse(season, _MARGIN, _BOUND).max() >= math.log(20.0) for season in differences)
    assert shown <= 0.05 * 1000


def test_error_rate_of_a_model_that_is_worse_in_few_games_by_much() -> None:
    """It equals the other in nine games of ten and is worse by ten margins in the tenth: by the margin on average."""
    random = np.random.default_rng(18)
    noise = random.normal(0.0, 0.02, (1000, 1300))
    differences = noise + 10 * _MARGIN * (random.random(noise.shape) < 0.1)
    shown = sum(not_worse(season, _MARGIN, _BOUND).max() >= math.log(20.0) for season in differences)
    assert shown <= 0.05 * 1000
