from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.builders.bundles import SEASON_GAMES, quick_recipe, simulated_games
from tests.support.fakes.progress import RecordedProgress

from dejavu_models.ratings import RatingFilter
from dejavu_models.team_filter import RatingSettings
from dejavu_models.types import HORIZONS, MAX_SLOTS, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.margin_model import ROWS
from dejavu_trainer.data.plays import DataError
from dejavu_trainer.training.calibrate import fit_calibration, frozen_before_each_season
from dejavu_trainer.training.dejavu import MINUTES
from dejavu_trainer.training.linear import fit_linear, out_of_season_points, season_parts
from dejavu_trainer.training.ratings import RatedGames, carry, margins_with_frozen_ratings
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
        assert dejavu.entries.games.sum() == 2 * SEASON_GAMES
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
            one.models.minutes[minute].index.content == other.models.minutes[minute].index.content
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


def test_tables_for_every_source_of_the_margin_from_residuals_of_unseen_seasons(rated: RatedGames) -> None:
    games, margins = seasons(rated, 2031, 2032, 2033)
    calibration = fit_calibration(RatedGames(games, margins), margins / 2)
    assert set(calibration.models) == {(source, False) for source in MarginSource}
    assert calibration.games == len(games)
    points = out_of_season_points(RatedGames(games, margins), {MarginSource.KNOWN: margins})[MarginSource.KNOWN]
    for which in season_parts(games.season):
        seen = RatedGames(games, margins).select(~which)
        linear = fit_linear(*seen, cube=True)
        leads = games.levels[which]
        expected = leads[:, :, None] + linear.increments(slice(1, MAX_SLOTS + 1), leads, margins[which])
        assert np.nan_to_num(points[which]) == pytest.approx(np.nan_to_num(expected))
    unknown = calibration.model(MarginSource.UNKNOWN, live=False)
    known = calibration.model(MarginSource.KNOWN, live=False)
    row = ROWS[HORIZONS.index(Horizon.FINAL), 1]
    assert unknown.scale[row, 0] > known.scale[row, 0]  # less is known of the game


def test_ratings_are_frozen_before_each_season_but_the_first(rated: RatedGames) -> None:
    games = seasons(rated, 2031, 2032, 2033).games
    start = RatingFilter.start(RatingSettings())
    carried, _ = carry(start, games)
    frozen = frozen_before_each_season(start, carried)
    first = games.season == 2031
    assert np.array_equal(frozen[first], carried.margins[first])
    _, state = carry(start, games.select(games.season < 2033))
    last = games.select(games.season == 2033)
    assert frozen[games.season == 2033] == pytest.approx(margins_with_frozen_ratings(state, last))


def test_a_recipe_is_known_by_all_that_makes_other_models() -> None:
    digests = {
        recipe.digest
        for recipe in (
            TrainingConfig(),
            TrainingConfig(prototypes=400),
            TrainingConfig(weights_share=0.2),
            TrainingConfig(prototypes=400, prototypes_at=((18, 3000),)),
            TrainingConfig(lstm=replace(TrainingConfig().lstm, hidden=16)),
            TrainingConfig(dejavu=replace(TrainingConfig().dejavu, recencies=(3.0,))),
        )
    }
    assert len(digests) == 6
    assert TrainingConfig().digest == TrainingConfig().digest


@pytest.mark.parametrize("prototypes", [0, 49, 2 * SEASON_GAMES + 1])
def test_a_number_of_prototypes_that_cannot_be_is_refused(rated: RatedGames, prototypes: int) -> None:
    with pytest.raises(DataError, match=f"{prototypes} prototypes per minute; expected 50 to {2 * SEASON_GAMES}"):
        train_models(seasons(rated, 2031, 2032), replace(RECIPE, prototypes=prototypes))


def test_a_number_of_prototypes_of_a_minute_is_checked_likewise(rated: RatedGames) -> None:
    with pytest.raises(DataError, match="49 prototypes at minute 18; expected 50 or more"):
        train_models(seasons(rated, 2031, 2032), replace(RECIPE, prototypes_at=((18, 49),)))


def test_too_few_games_are_refused_with_a_reason(rated: RatedGames) -> None:
    season = seasons(rated, 2031)
    few = np.arange(len(season.games)) < 20
    with pytest.raises(DataError, match="too"):
        train_models(season.select(few), replace(RECIPE, prototypes=None))
