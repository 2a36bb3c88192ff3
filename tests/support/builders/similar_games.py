"""Databases of random games, and LSTM networks that say the same of every game."""

from __future__ import annotations

import numpy as np
from tests.support.builders.folds import rated_walks
from tests.support.builders.made_once import computed_once

from dejavu_models.arrays import Floats
from dejavu_models.components.dejavu import Dejavu
from dejavu_models.components.features import LIVE_CHANNELS, OUTPUTS, STEP_CHANNELS, Rows
from dejavu_models.components.lstm import Lstm
from dejavu_models.components.settings import DejavuConfig
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS
from dejavu_trainer.training.calibrate import training_games
from dejavu_trainer.training.ratings import RatedGames
from dejavu_trainer.training.served_tables import live_rows


def walks_database(games: int = 240, groups: int = 30, nearest: int = 10) -> Dejavu:
    """Return a database of `walked` with residuals of normal size. Built once a run."""

    def build() -> bytes:
        residuals = np.random.default_rng(2).normal(0.2, 1.0, (games, len(CASES)))
        return database_of(walked(games), residuals, groups, nearest).to_bytes()

    return Dejavu.from_bytes(computed_once(f"database-{games}-{groups}-{nearest}", build))


def database_of(rated: RatedGames, residuals: Floats, groups: int = 30, nearest: int = 10) -> Dejavu:
    """Return a database of games with these standardised residuals, (n, cases)."""
    return Dejavu.fit(training_games(rated, np.tile(residuals, (2, 2, 1, 1))), 0, DejavuConfig(groups, nearest))


def walked(games: int, seed: int = 1) -> RatedGames:
    """Return random walks of one season."""
    return rated_walks(games, range(2030, 2031), seed)


def rows_of(rated: RatedGames, minute: int) -> Rows:
    """Return games as they are after a minute, with margins and live inputs."""
    return Rows(rated.games.levels[:, :minute], rated.margins, live_rows(rated.games)[:, minute - 1])


def mirrored(rows: Rows) -> Rows:
    """Return games with home and away exchanged."""
    return Rows(-rows.patterns, -rows.margins, rows.live * [1, -1, 1, -1, 1])


def steady_lstm(mean: float = 0.0, log_scale: float = 0.0) -> Lstm:
    """Return a network with the same outputs for every game, minute and horizon."""
    horizons = len(HORIZONS)
    weights = {
        "scale": np.ones(STEP_CHANNELS, np.float32),
        "input": np.zeros((4, STEP_CHANNELS), np.float32),
        "recurrent": np.zeros((4, 1), np.float32),
        "bias": np.zeros(4, np.float32),
        "head": np.zeros((1 + LIVE_CHANNELS, OUTPUTS), np.float32),
        "head_bias": np.repeat(np.array([mean, log_scale], np.float32), horizons),
        "spreads": np.ones((MAX_SLOTS, horizons), np.float32),
    }
    return Lstm({name: each[None] for name, each in weights.items()}, np.zeros(MAX_SLOTS + 1))
