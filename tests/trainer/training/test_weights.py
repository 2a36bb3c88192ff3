"""Weights of the components learned by the scores of their distributions, and fixed ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tests.support.builders.bundles import quick_recipe, simulated_games
from tests.support.builders.calibrations import symmetric_model
from tests.support.builders.folds import rated_walks
from tests.support.builders.similar_games import database_of, steady_lstm

from dejavu_models.arrays import Floats
from dejavu_models.components.dejavu import Dejavu
from dejavu_models.components.ensemble import CELLS, Ensemble, Weights, cell_of
from dejavu_models.components.linear import LinearModels
from dejavu_models.types import CASES, LINEAR_SOURCES, MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_models.uncertainty.lattice.inputs import LiveKind
from dejavu_trainer.execution import ignore
from dejavu_trainer.training import weights as learning
from dejavu_trainer.training.calibrate import fit_recipe
from dejavu_trainer.training.linear import fit_linear, linear_points
from dejavu_trainer.training.ratings import RatedGames
from dejavu_trainer.training.recipe import FixedWeights
from dejavu_trainer.training.served_tables import ServedTables

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


def by_source(rated: RatedGames) -> Mapping[MarginSource, RatedGames]:
    unknown = rated._replace(margins=np.full_like(rated.margins, np.nan))
    return {MarginSource.UNKNOWN: unknown, MarginSource.KNOWN: rated}


def learned(ensemble: Ensemble) -> Weights:
    return learning.learn_weights(ensemble, TABLES, by_source(walks()[1]), ignore)


@cache
def good_and_bad(name: str) -> Weights:
    """Learn weights where one component repairs the linear models' error, and the other adds to it."""
    if name == "dejavu":
        return learned(Ensemble(linear(OFF), residuals_database(OFF), steady_lstm(-2.0)))
    return learned(Ensemble(linear(OFF), residuals_database(-3.0), steady_lstm(OFF, 0.2)))


@pytest.mark.parametrize("name", ["dejavu", "lstm"])
def test_a_component_that_harms_has_no_weight_and_one_that_is_right_has_more_than_alone_before(name: str) -> None:
    weights = good_and_bad(name)
    good, bad = (1, 2) if name == "dejavu" else (2, 1)
    late = [cell_of(*case) for case in ((0, 20), (1, 20), (1, 30))]
    known = weights.values[LINEAR_SOURCES.index(MarginSource.KNOWN), late]
    assert (known[:, bad] == 0).all()
    assert (known[:, good] > learning.ALONE).all()


@pytest.mark.parametrize("name", ["dejavu", "lstm"])
def test_weights_sum_to_1_and_intervals_contain_them(name: str) -> None:
    weights = good_and_bad(name)
    assert weights.values.sum(axis=-1) == pytest.approx(np.ones((3, len(CELLS))))
    assert (weights.lower <= weights.values + 1e-9).all()
    assert (weights.values <= weights.upper + 1e-9).all()
    assert np.array_equal(weights.values[2], weights.values[1]), "without lines, they are treated as ratings are"


def crps_of(ensemble: Ensemble, weights: Floats, cell: int) -> float:
    """Return the mean score of a cell of the games with a known margin."""
    rated = walks()[1]
    served = ServedTables.of_source(
        replace(ensemble, weights=Weights.fixed(*weights.tolist())), TABLES, MarginSource.KNOWN, rated
    )
    points = linear_points(ensemble.linear, rated)
    return float(
        np.mean(
            [
                served.distribution(points, rated.margins, *case)[1].crps(rated.games.outcomes[:, case[0]]).mean()
                for case in CASES
                if cell_of(*case) == cell
            ]
        )
    )


def test_without_shrinkage_learned_weights_have_the_least_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "SHRINKAGE", 1e-9)
    ensemble = Ensemble(linear(OFF), residuals_database(OFF), steady_lstm(0.9, 0.3))
    weights = learned(ensemble)
    for cell in (1, 3):
        best = weights.values[1, cell]
        least = crps_of(ensemble, best, cell)
        for other in (
            [1, 0, 0],
            [0, 1, 0],
            [0, 0, 1],
            [0.5, 0.25, 0.25],
            0.9 * best + [0.1, 0, 0],
            0.9 * best + [0, 0.1, 0],
        ):
            assert least <= crps_of(ensemble, np.array(other, float), cell) + 2e-3


def test_weights_are_shrunk_towards_those_before_the_games(monkeypatch: pytest.MonkeyPatch) -> None:
    ensemble = Ensemble(linear(OFF), residuals_database(OFF), steady_lstm(OFF, 0.2))
    monkeypatch.setattr(learning, "SHRINKAGE", 1e6)
    monkeypatch.setattr(learning, "TOLERANCE", 1.0)
    assert learned(ensemble).values == pytest.approx(np.tile(learning.PRIOR, (3, len(CELLS), 1)), abs=1e-3)
    alone = learned(replace(ensemble, lstm=None)).values
    assert alone == pytest.approx(np.tile([0.7, 0.3, 0.0], (3, len(CELLS), 1)), abs=1e-3)
    assert np.array_equal(learned(Ensemble(linear())).values, Weights.fixed(1.0, 0.0, 0.0).values)


def test_the_weights_of_a_recipe_are_used_as_they_are_given() -> None:
    recipe = replace(quick_recipe(), weights=FixedWeights(dejavu=0.4, lstm=0.6))
    games = simulated_games()
    fitted = fit_recipe(games.of_seasons([2031]), games.of_seasons([2032]), recipe)
    assert np.array_equal(fitted.models.weights.values, Weights.fixed(0.0, 0.4, 0.6).values)
    assert all(each.lower == each.weight == each.upper for each in fitted.models.weights.listed())
