from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.builders.bundles import quick_recipe, simulated_games
from tests.support.fakes.progress import RecordedProgress

from dejavu_models.ratings import RatingFilter, RatingSettings
from dejavu_models.types import HORIZONS, MarginSource
from dejavu_models.uncertainty.conformal_cells import lead_groups
from dejavu_trainer.data.plays import DataError
from dejavu_trainer.training.calibrate import calibrate
from dejavu_trainer.training.dejavu import MINUTES
from dejavu_trainer.training.ratings import RatedGames, carry
from dejavu_trainer.training.recipe import TrainedModels, TrainingConfig, train_models

RECIPE = quick_recipe()


@pytest.fixture(scope="module")
def rated() -> RatedGames:
    return carry(RatingFilter.start(RatingSettings()), simulated_games())[0]


def seasons(rated: RatedGames, *which: int) -> RatedGames:
    return rated.of_seasons(which)


@pytest.fixture(scope="module")
def run(rated: RatedGames) -> tuple[TrainedModels, RecordedProgress]:
    bars = RecordedProgress()
    return train_models(seasons(rated, 2031, 2032), RECIPE, seed=3, progress=bars, workers=2), bars


def test_every_minute_has_a_database_and_every_horizon_its_weights(run: tuple[TrainedModels, RecordedProgress]) -> None:
    models = run[0].models
    assert tuple(models.minutes) == MINUTES
    for minute, dejavu in models.minutes.items():
        assert len(dejavu.entries) <= 50
        assert dejavu.entries.games.sum() == 400
        assert len(dejavu.entries) == 50 or minute <= 2
    weights, shrinkage = models.weights.dejavu_weights, models.weights.shrinkage
    assert ((weights >= 0) & (weights <= 1)).all()
    assert ((shrinkage >= 0) & (shrinkage <= 1)).all()


def test_every_bar_comes_to_its_end(run: tuple[TrainedModels, RecordedProgress]) -> None:
    assert [name for name, _, _ in run[1].steps] == [
        "Select the Dejavu settings",
        "Trial: Build the Dejavu databases",
        "Trial: Train the LSTM",
        "Fit the ensemble weights",
        "Build the Dejavu databases",
        "Train the LSTM",
    ]
    assert all(done == total for _, total, done in run[1].steps)


def same(one: TrainedModels, other: TrainedModels) -> bool:
    return (
        one.lstm.graph == other.lstm.graph
        and one.dejavu == other.dejavu
        and np.array_equal(one.models.weights.dejavu_weights, other.models.weights.dejavu_weights)
        and np.array_equal(one.models.weights.shrinkage, other.models.weights.shrinkage)
        and all(
            one.models.minutes[minute].index.to_bytes() == other.models.minutes[minute].index.to_bytes()
            and one.models.minutes[minute].entries.to_bytes() == other.models.minutes[minute].entries.to_bytes()
            for minute in MINUTES
        )
    )


def test_the_same_games_and_seed_make_the_same_models_however_many_threads(
    run: tuple[TrainedModels, RecordedProgress], rated: RatedGames
) -> None:
    games = seasons(rated, 2031, 2032)
    assert same(run[0], train_models(games, RECIPE, seed=3, workers=1))
    assert not same(run[0], train_models(games, RECIPE, seed=4, workers=1))


def test_a_distribution_for_every_situation_from_games_that_no_model_saw(
    run: tuple[TrainedModels, RecordedProgress], rated: RatedGames
) -> None:
    games, margins = seasons(rated, 2033)
    calibration = calibrate(run[0].models, RatedGames(games, margins), margins / 2, min_cell=200)
    expected = {
        (horizon, minute, mode)
        for horizon in HORIZONS
        for minute in range(1, horizon.last_slot + 1)
        for mode in MarginSource
    }
    assert set(calibration.distributions) == expected
    for (horizon, minute, mode), distribution in calibration.distributions.items():
        assert sum(cell.games for cell in distribution.cells) == 200
        patterns = np.ascontiguousarray(games.levels[:, :minute])
        told = {
            MarginSource.UNKNOWN: np.full(200, np.nan),
            MarginSource.KNOWN: margins,
            MarginSource.RATED: margins / 2,
        }[mode]
        points = run[0].models.predict(patterns, told).ensemble[:, HORIZONS.index(horizon)]
        scales = np.array(distribution.scales)[lead_groups(patterns[:, -1])]
        left = (games.outcomes[:, HORIZONS.index(horizon)] - points) / scales
        assert distribution.cells[0].residuals == pytest.approx(np.sort(left), abs=1e-3)


def test_cells_are_kept_apart_where_there_are_games_enough(
    run: tuple[TrainedModels, RecordedProgress], rated: RatedGames
) -> None:
    calibrated_on = seasons(rated, 2033, 2034)
    found = calibrate(run[0].models, calibrated_on, calibrated_on.margins, min_cell=60).distributions
    assert max(len(distribution.cells) for distribution in found.values()) > 1
    for distribution in found.values():
        assert len(distribution.cells) == 1 or min(cell.games for cell in distribution.cells) >= 60
        assert sum(cell.games for cell in distribution.cells) == 400


def test_a_recipe_is_known_by_all_that_makes_other_models() -> None:
    digests = {
        recipe.digest
        for recipe in (
            TrainingConfig(),
            TrainingConfig(prototypes=400),
            TrainingConfig(prototypes=400, prototypes_at=((18, 3000),)),
            TrainingConfig(min_cell=500),
            TrainingConfig(lstm=replace(TrainingConfig().lstm, hidden=16)),
            TrainingConfig(dejavu=replace(TrainingConfig().dejavu, recencies=(3.0,))),
        )
    }
    assert len(digests) == 6
    assert TrainingConfig().digest == TrainingConfig().digest


@pytest.mark.parametrize("prototypes", [0, 49, 401])
def test_a_number_of_prototypes_that_cannot_be_is_refused(rated: RatedGames, prototypes: int) -> None:
    with pytest.raises(DataError, match=f"{prototypes} prototypes per minute; expected 50 to 400"):
        train_models(seasons(rated, 2031, 2032), replace(RECIPE, prototypes=prototypes))


def test_a_number_of_prototypes_of_a_minute_is_checked_likewise(rated: RatedGames) -> None:
    with pytest.raises(DataError, match="49 prototypes at minute 18; expected 50 or more"):
        train_models(seasons(rated, 2031, 2032), replace(RECIPE, prototypes_at=((18, 49),)))


def test_too_few_games_are_refused_with_a_reason(rated: RatedGames) -> None:
    season = seasons(rated, 2031)
    few = np.arange(len(season.games)) < 20
    with pytest.raises(DataError, match="too"):
        train_models(season.select(few), replace(RECIPE, prototypes=None))
