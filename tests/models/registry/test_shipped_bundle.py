"""Compares the shipped bundle with the real games listed in its manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.harness.real_games import real_games

from dejavu_models.ratings import RatingFilter, RatingSettings, carried_margins
from dejavu_models.registry.bundle import load_bundle
from dejavu_models.registry.registry import default_bundle
from dejavu_models.types import HORIZONS, MarginSource
from dejavu_models.uncertainty.calibration import Situation
from dejavu_models.uncertainty.conformal import PredictiveDistribution
from dejavu_models.uncertainty.conformal_cells import min_cell_size

pytestmark = pytest.mark.real_data


def test_it_was_made_of_these_games(data_dir: Path) -> None:
    manifest = load_bundle(default_bundle()).manifest
    games = real_games(data_dir, [*manifest.train.seasons, *manifest.calibrate.seasons])
    assert games.is_of(manifest.data_fingerprint)


def test_its_intervals_come_from_what_it_misses_on_the_calibration_games(data_dir: Path) -> None:
    """Queries have no teams, so the expected predictions do not depend on ratings."""
    forecaster = load_bundle(default_bundle())
    games = real_games(data_dir, forecaster.info.calibration_seasons)
    levels, unknown = games.differentials.astype(float), np.full(len(games), np.nan)
    for minute in (1, 6, 18, 23, 36, 47):
        predictions = forecaster.models.predict(levels[:, :minute], unknown)
        for place, (horizon, outcomes) in enumerate(zip(HORIZONS, (levels[:, 23], games.final), strict=True)):
            if minute <= horizon.last_slot:
                points = predictions.ensemble[:, place]
                made = PredictiveDistribution.fit(
                    horizon,
                    points,
                    levels[:, minute - 1],
                    outcomes.astype(float),
                    scales=forecaster.models.linear.scales[place, minute, MarginSource.UNKNOWN].tolist(),
                    min_cell=min_cell_size(horizon, minute),
                )
                held = forecaster.calibration.distributions[Situation(horizon, minute, MarginSource.UNKNOWN)]
                assert held.edges == made.edges
                for mine, its in zip(made.cells, held.cells, strict=True):
                    assert its.residuals == pytest.approx(mine.residuals, abs=1e-3)


def test_its_prototypes_stand_for_all_training_games_and_are_named_by_them(data_dir: Path) -> None:
    forecaster = load_bundle(default_bundle())
    games = real_games(data_dir, forecaster.info.train_seasons)
    known = set(zip(games.date.tolist(), games.home.tolist(), games.away.tolist(), strict=True))
    assert set(forecaster.models.minutes) == set(range(1, 48))
    for dejavu in forecaster.models.minutes.values():
        held = dejavu.entries
        assert held.games.sum() == len(games)
        assert set(zip(held.date.tolist(), held.home.tolist(), held.away.tolist(), strict=True)) <= known


def test_its_ratings_count_every_game_and_stand_for_the_season_after(data_dir: Path) -> None:
    forecaster = load_bundle(default_bundle())
    record = forecaster.manifest.ratings
    games = real_games(data_dir)
    settings = RatingSettings(record.noise, record.daily, record.carry, record.seasonal, record.home_daily)
    start = RatingFilter.start(settings)
    _, _, state = carried_margins(start, games.season, games.date, games.home, games.away, games.final)
    assert record.date == games.date[-1].item()
    assert record.season == 2024
    due = state.predict(2024).ratings()
    assert forecaster.ratings.home_advantage == pytest.approx(due.home_advantage)
    assert dict(forecaster.ratings.strengths) == pytest.approx(dict(due.strengths))
