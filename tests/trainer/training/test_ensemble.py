from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.harness.laws import examples

from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MAX_SLOTS, Horizon
from dejavu_trainer.training.ensemble import (
    FIXED_DEJAVU_WEIGHT,
    TrialPredictions,
    choose_weights,
    fit_shares,
    fit_shrinkage,
)

HALFTIME, FINAL = HORIZONS.index(Horizon.HALFTIME), HORIZONS.index(Horizon.FINAL)
LAST = Horizon.HALFTIME.last_slot


def drawn(count: int, seed: int) -> np.ndarray:
    """Random predictions after every minute; 0 where a horizon has passed."""
    values = np.random.default_rng(seed).normal(0, 1, (count, MAX_SLOTS, len(MARGIN_SOURCES), len(HORIZONS)))
    values[:, LAST:, :, HALFTIME] = 0
    return values


def test_what_neighbours_overstate_by_half_is_halved() -> None:
    truth = drawn(400, 0)
    shrinkage = fit_shrinkage(2 * truth, truth + drawn(400, 1))
    assert shrinkage[FINAL, 1:] == pytest.approx(np.full(MAX_SLOTS, 0.5), abs=0.03)
    assert shrinkage[HALFTIME, 1 : LAST + 1] == pytest.approx(np.full(LAST, 0.5), abs=0.03)


def test_neighbours_who_know_nothing_are_hardly_believed() -> None:
    said, due = drawn(400, 2), drawn(400, 3)
    assert fit_shrinkage(said, due).max() < 0.05
    assert (fit_shrinkage(said, -said) == 0).all()
    assert (fit_shrinkage(0 * said, due) == 0).all()


@pytest.mark.parametrize("share", [0.0, 0.25, 0.8, 1.0])
def test_the_share_that_made_outcomes_is_found(share: float) -> None:
    dejavu, lstm = drawn(300, 4), drawn(300, 5)
    trial = TrialPredictions(dejavu, lstm, share * dejavu + (1 - share) * lstm)
    shares = fit_shares(trial, np.ones((2, MAX_SLOTS + 1)))
    assert shares[FINAL] == pytest.approx([share] * 4, abs=1e-9)
    assert shares[HALFTIME, :2] == pytest.approx([share] * 2, abs=1e-9)
    assert np.isnan(shares[HALFTIME, 2:]).all()


def test_quarters_may_differ() -> None:
    dejavu, lstm = drawn(300, 6), drawn(300, 7)
    late = (np.arange(MAX_SLOTS) >= 36)[:, None, None]
    shares = fit_shares(TrialPredictions(dejavu, lstm, np.where(late, dejavu, lstm)), np.ones((2, MAX_SLOTS + 1)))
    assert shares[FINAL, 3] > 0.55
    assert (shares[FINAL, :3] < 0.2).all()


def trial(count: int, seed: int, share: float) -> TrialPredictions:
    dejavu, lstm = drawn(count, seed), drawn(count, seed + 1)
    return TrialPredictions(dejavu, lstm, share * dejavu + (1 - share) * lstm + drawn(count, seed + 2))


def test_fitted_weights_are_taken_where_they_are_better() -> None:
    choice = choose_weights(trial(400, 10, 0.9), trial(400, 20, 0.9))
    assert choice.takes_fitted == (True, True)
    assert (choice.fitted_crps < choice.fixed_crps).all()
    assert (choice.combination.dejavu_weights[FINAL, 1:] > 0.7).all()


def test_fixed_weights_are_taken_where_fitted_ones_do_not_last() -> None:
    choice = choose_weights(trial(400, 30, 1.0), trial(400, 40, 0.2))
    assert choice.takes_fitted == (False, False)
    assert (choice.fitted_crps >= choice.fixed_crps).all()
    assert (choice.combination.dejavu_weights == FIXED_DEJAVU_WEIGHT).all()


@settings(max_examples=examples(20))
@given(st.integers(0, 10_000), st.floats(-1, 2), st.floats(0.01, 100))
def test_whatever_is_said_weights_stay_in_bounds(seed: int, share: float, scale: float) -> None:
    def scaled(one: TrialPredictions) -> TrialPredictions:
        return TrialPredictions(scale * one.dejavu, one.lstm, one.target)

    choice = choose_weights(scaled(trial(12, seed, share)), scaled(trial(8, seed + 5, share)))
    for values in (choice.combination.dejavu_weights, choice.combination.shrinkage):
        assert ((values >= 0) & (values <= 1)).all()
    assert (choice.combination.shrinkage[HALFTIME, LAST + 1 :] == 0).all()
    assert (choice.combination.shrinkage[:, 0] == 0).all()


def test_models_that_say_the_same_are_combined_as_usual() -> None:
    said = drawn(50, 60)
    choice = choose_weights(
        TrialPredictions(0 * said, 0 * said, said), TrialPredictions(0 * said, 0 * said, drawn(50, 61))
    )
    assert (choice.combination.dejavu_weights == FIXED_DEJAVU_WEIGHT).all()
