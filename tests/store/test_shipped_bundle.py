"""Compares the shipped bundle with the real games of its manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.harness.real_games import real_games

from dejavu_models.ratings import RatingFilter, RatingSettings
from dejavu_models.types import CASES, MarginSource
from dejavu_models.uncertainty.lattice.margin_model import TABLES
from dejavu_store.bundle import load_bundle
from dejavu_store.default_bundles import default_bundle
from dejavu_trainer.training.lattice import MarginGames, fit_margin_model
from dejavu_trainer.training.linear import out_of_season_points
from dejavu_trainer.training.ratings import RatedGames, carry

pytestmark = [pytest.mark.real_data, pytest.mark.nightly]


def test_it_was_made_of_these_games(data_dir: Path) -> None:
    """Its fingerprint covers plays and box scores too, as `dejavu-trainer import` reads them; the folder lacks them."""
    forecaster = load_bundle(default_bundle())
    manifest, dejavu = forecaster.manifest, forecaster.models.dejavu
    for part in (manifest.train, manifest.calibrate):
        games = real_games(data_dir, part.seasons)
        first, last = (f"{day}" for day in (games.date[0], games.date[-1]))
        assert (part.games, f"{part.first_date}", f"{part.last_date}") == (len(games), first, last)
    assert dejavu is not None
    trained = real_games(data_dir, manifest.train.seasons)
    for name in ("date", "home", "away", "differentials", "final"):
        assert (getattr(dejavu.games, name) == getattr(trained, name)).all(), name


def test_its_distributions_are_those_of_unseen_seasons_of_these_games(data_dir: Path) -> None:
    """The tables without live inputs or teams, which do not depend on ratings."""
    forecaster = load_bundle(default_bundle())
    games = real_games(data_dir, forecaster.info.train_seasons)
    unknown = np.full(len(games), np.nan)
    rated = RatedGames(games, np.zeros(len(games)))
    points = out_of_season_points(rated, {MarginSource.UNKNOWN: unknown})[MarginSource.UNKNOWN]
    residuals = np.stack([games.outcomes[:, index] - points[:, minute - 1, index] for index, minute in CASES], axis=1)
    made = fit_margin_model(MarginGames(games.levels, games.outcomes, np.zeros(len(games)), residuals))
    held = forecaster.calibration.model(MarginSource.UNKNOWN)
    for name in set(TABLES) - {"ranks"}:
        assert getattr(held, name) == pytest.approx(getattr(made, name), rel=1e-4, abs=1e-4), name


def test_its_ratings_count_every_game_and_stand_for_the_season_after(data_dir: Path) -> None:
    forecaster = load_bundle(default_bundle())
    record = forecaster.manifest.ratings
    games = real_games(data_dir)
    settings = RatingSettings(record.noise, record.daily, record.carry, record.seasonal, record.home_daily)
    start = RatingFilter.start(settings)
    _, state = carry(start, games)
    assert record.date == games.date[-1].item()
    assert record.season == 2025
    assert forecaster.rating_filter.mean == pytest.approx(state.predict(2025).mean)
