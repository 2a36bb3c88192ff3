"""Weights of the components learned by the scores of their distributions, and fixed ones."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.bundles import quick_recipe, simulated_games
from tests.support.builders.folds import database_of, rated_walks, steady_lstm
from tests.support.builders.models import symmetric_model

from dejavu_models.arrays import Floats
from dejavu_models.components.component import ignore
from dejavu_models.components.dejavu import Dejavu
from dejavu_models.components.ensemble import CELLS, Ensemble, Weights, cell_of
from dejavu_models.components.linear import LinearModels
from dejavu_models.types import CASES, LINEAR_SOURCES, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.margin_model import LiveKind
from dejavu_trainer.training import weights as learning
from dejavu_trainer.training.calibrate import fit_recipe
from dejavu_trainer.training.linear import fit_linear, linear_points
from dejavu_trainer.training.ratings import RatedGames
from dejavu_trainer.training.weights import ServedTables

OFF = 0.4
"""Error of the linear models in some tests, in scales."""


@cache
def walks() -> tuple[RatedGames, RatedGames]:
    rated = rated_walks(100, range(2030, 2032), 3)
    return rated.of_seasons([2030]), rated.of_seasons([2031])


TABLES = LatticeCalibration({(source, LiveKind.NONE): symmetric_model() for source in MarginSource})


@cache
def linear(off: float = 0.0) -> LinearModels:
    """Linear models whose forecasts of all minutes are too low by a number of scales, as the tables have them."""
    models = fit_linear(*walks()[0])
    shifted = models.coefficients.copy()
    for horizon, minute in CASES:
        scale = 2 * np.sqrt((24, 48)[horizon] - minute)
        shifted[horizon, minute, :, 0] -= off * scale
    return LinearModels(shifted)


@cache
def residuals_database(off: float) -> Dejavu:
    """Similar games that have what the linear models that are off leave."""
    past = walks()[0]
    points = linear_points(linear(off), past)
    served = ServedTables([TABLES.model(MarginSource.KNOWN, LiveKind.NONE)], past.games)
    return database_of(past, served.residuals(points, past.margins), groups=10, nearest=10)


@pytest.mark.parametrize(
    ("good", "bad", "dejavu_off", "lstm"), [(1, 2, OFF, (-2.0, 0.0)), (2, 1, -3.0, (OFF, 0.2))], ids=["dejavu", "lstm"]
)
def test_a_component_that_harms_has_no_weight_and_one_that_is_right_has_more_than_alone_before(
    good: int, bad: int, dejavu_off: float, lstm: tuple[float, float]
) -> None:
    """One component repairs the linear models' error, and the other adds to it."""
    ensemble = Ensemble(linear(OFF), (residuals_database(dejavu_off), steady_lstm(*lstm)))
    rated = walks()[1]
    unknown = rated._replace(margins=np.full_like(rated.margins, np.nan))
    by_source = {MarginSource.UNKNOWN: unknown, MarginSource.KNOWN: rated}
    weights = learning.learn_weights(ensemble, TABLES, by_source, ignore)
    late = [cell_of(*case) for case in ((0, 20), (1, 20), (1, 30))]
    known = weights.values[LINEAR_SOURCES.index(MarginSource.KNOWN), late]
    assert (known[:, bad] == 0).all()
    assert (known[:, good] > learning.ALONE).all()
    assert weights.values.sum(axis=-1) == pytest.approx(np.ones((3, len(CELLS))))
    assert (weights.lower <= weights.values + 1e-9).all()
    assert (weights.values <= weights.upper + 1e-9).all()
    assert np.array_equal(weights.values[2], weights.values[1]), "without lines, they are treated as ratings are"


@given(st.integers(2, 5), st.integers(0, 2**32), st.floats(0.001, 100))
def test_learned_weights_have_the_least_score_with_its_penalty(components: int, seed: int, shrinkage: float) -> None:
    """The score of a pool is that of the mean products of errors, and so is its distance from the prior."""
    rng = np.random.default_rng(seed)
    errors = rng.normal(0, 1, (20, components)) + rng.normal(0, 2, (20, 1))
    mean, accepted = errors.T @ errors, [True] * components
    prior = np.array([0.7, 0.3]) if components == 2 else np.array([0.5, *[0.5 / (components - 1)] * (components - 1)])

    def score(weights: Floats) -> float:
        return float(weights @ mean @ weights + shrinkage * (weights - prior) @ mean @ (weights - prior))

    [best] = learning.best_weights(mean[None], accepted, shrinkage)
    assert best.sum() == pytest.approx(1)
    assert (best >= 0).all()
    for other in (*np.eye(components), prior, *rng.dirichlet(np.ones(components), 50)):
        for share in (0.01, 0.5, 1.0):
            assert score(best) <= score((1 - share) * best + share * other) * (1 + 1e-9)
    [shrunk] = learning.best_weights(mean[None], accepted, 1e9)
    assert shrunk == pytest.approx(prior, abs=1e-6)
    [alone] = learning.best_weights(mean[None], [True] + [False] * (components - 1))
    assert alone.tolist() == [1.0] + [0.0] * (components - 1)


def test_the_weights_of_a_recipe_are_used_as_they_are_given() -> None:
    recipe = replace(quick_recipe(), weights={"dejavu": 0.4, "lstm": 0.6})
    games = simulated_games()
    fitted = fit_recipe(games.of_seasons([2031]), games.of_seasons([2032]), recipe)
    assert np.array_equal(fitted.models.weights.values, Weights.fixed(0.0, 0.4, 0.6).values)
    assert all(each.lower == each.weight == each.upper for each in fitted.models.weights.listed())
