"""How models are made from training games, as one value: what a backtest tries out and a fit publishes.

A recipe says nothing of seasons. Whatever depends on games is chosen anew from the training games of each run: they are
divided by date, trial models are fitted on the earlier ones and held against the later ones, and the models that ship
are fitted on all of them with what was chosen.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.point.dejavu import Dejavu
from dejavu_models.point.ensemble import PointEnsemble
from dejavu_models.point.linear import LinearModels
from dejavu_models.point.lstm import Lstm
from dejavu_models.types import MARGIN_SOURCES, MarginSource
from dejavu_models.uncertainty.conformal import LATE_MIN_CELL, LEAD_EDGES, MIN_CELL
from dejavu_trainer.data.games import Games
from dejavu_trainer.data.split import SplitError, hold_out_last
from dejavu_trainer.execution.progress import NoProgress, Progress
from dejavu_trainer.execution.threads import cores
from dejavu_trainer.training.dejavu import (
    MINUTES,
    DejavuGrid,
    SelectedSettings,
    TrainingGames,
    build_all,
    choose_settings,
    predict_all,
)
from dejavu_trainer.training.ensemble import TrialPredictions, WeightSelection, choose_weights
from dejavu_trainer.training.linear import fit_linear, linear_residuals
from dejavu_trainer.training.lstm import LstmConfig, LstmExamples, TrainedLstm, fit_lstm

METHOD = 4
"""Raised with every change of the code that makes other models of the same games, so that a verdict on the older ones
is not taken for one on these."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """What identifies how models are made.

    Attributes:
        prototypes: entries of each minute's Dejavu database at most; None: every course that a game took has one.
        min_cell: the fewest calibration games of a cell by lead.
        weights_share: of the training games, the last: trial models do not see them. On the earlier half of them the
            combination of the models is fitted, on the later half it is held against fixed weights.
        rating_steps: evaluations of the likelihood in the search for the ratings' settings.
        dejavu: what is chosen from.
        lstm: how it is fitted.
    """

    prototypes: int | None = None
    min_cell: int = MIN_CELL
    weights_share: float = 0.3
    rating_steps: int = 60
    dejavu: DejavuGrid = field(default_factory=DejavuGrid)
    lstm: LstmConfig = field(default_factory=LstmConfig)

    @property
    def digest(self) -> str:
        """Identifies the recipe: the first 16 hexadecimal digits of a SHA-256."""
        content = {"method": METHOD, "lead_edges": LEAD_EDGES, "late_min_cell": LATE_MIN_CELL, **asdict(self)}
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class TrainedModels:
    """Models made by a recipe, and what was chosen on the way.

    Attributes:
        models: all but the calibration.
        lstm: the LSTM's fit, with its graph.
        dejavu: how the databases are asked.
        weights: how the models are combined.
    """

    models: PointEnsemble
    lstm: TrainedLstm
    dejavu: SelectedSettings
    weights: WeightSelection


def train_models(
    games: Games,
    margins: Floats,
    recipe: TrainingConfig,
    seed: int = 0,
    progress: Progress | None = None,
    workers: int | None = None,
) -> TrainedModels:
    """Makes models of training games.

    The same games, margins, recipe and seed give the same models on one machine.

    Args:
        games: n to train on.
        margins: (n,), what was expected of each before it began, with ratings carried from game to game, in points.
        recipe: how.
        seed: of everything random, at least 0.
        progress: is told how far it is.
        workers: threads, as many as there are cores if not given; they do not change the result.

    Raises:
        DataError: if the games are too few.
        FitError: if the LSTM can't be fitted.
    """
    if recipe.prototypes is not None and not 2 * min(recipe.dejavu.neighbours) <= recipe.prototypes <= len(games):
        # With fewer, all of them would be neighbours of every pattern.
        least = 2 * min(recipe.dejavu.neighbours)
        raise SplitError(
            f"{recipe.prototypes} prototypes a minute; expected {least} to {len(games)}, the games to train on"
        )
    run = _Run(recipe, seed, progress or NoProgress(), workers or cores())
    earlier, later = hold_out_last(games.date, recipe.weights_share)
    fitting, comparing = hold_out_last(games.date[later], 0.5)
    choice, weights = run.select_hyperparameters(
        (games.select(earlier), margins[earlier]),
        (games.select(later), margins[later]),
        fitting,
        comparing,
    )
    linear, lstm, databases = run.fit_all("", games, margins, choice)
    models = PointEnsemble(linear, Lstm(lstm.graph), databases, weights.combination)
    return TrainedModels(models, lstm, choice, weights)


@dataclass(frozen=True, slots=True)
class _Run:
    recipe: TrainingConfig
    seed: int
    progress: Progress
    workers: int

    def select_hyperparameters(
        self, past: tuple[Games, Floats], later: tuple[Games, Floats], fitting: np.ndarray, comparing: np.ndarray
    ) -> tuple[SelectedSettings, WeightSelection]:
        """How Dejavu is asked, and how the models are combined; `fitting` and `comparing` are masks of later games."""
        games, margins = past
        later_games, later_margins = later
        recipe, grid = self.recipe, self.recipe.dejavu
        # Trial databases are condensed as much as those that will ship.
        share = len(games) / (len(games) + len(later_games))
        prototypes = recipe.prototypes and max(min(grid.neighbours), round(recipe.prototypes * share))
        linear = fit_linear(games, margins)
        due = linear_residuals(linear, later_games, later_margins)
        learned = TrainingGames(games, linear_residuals(linear, games, margins))
        asking = TrainingGames(later_games, due).select(fitting)
        with self.progress.step("Choose how Dejavu looks back", grid.steps) as advance:
            choice = choose_settings(learned, asking, prototypes, grid, self.seed, advance, self.workers)
        _, lstm, databases = self.fit_all("Trial: ", games, margins, choice, prototypes)
        with self.progress.step("Combine the models", len(MINUTES)) as advance:
            said = predict_all(databases, later_games, advance, self.workers)
            heard = _lstm_residuals(Lstm(lstm.graph), later_games, later_margins)
            parts = [TrialPredictions(said[part], heard[part], due[part]) for part in (fitting, comparing)]
            return choice, choose_weights(*parts)

    def fit_all(
        self, name: str, games: Games, margins: Floats, choice: SelectedSettings, prototypes: int | None = None
    ) -> tuple[LinearModels, TrainedLstm, dict[int, Dejavu]]:
        """All models on some games."""
        recipe = self.recipe
        linear = fit_linear(games, margins)
        left = linear_residuals(linear, games, margins)
        with self.progress.step(f"{name}Build the Dejavu databases", len(MINUTES)) as advance:
            databases = build_all(
                TrainingGames(games, left),
                MINUTES,
                choice.settings,
                prototypes or recipe.prototypes,
                self.seed,
                advance,
                self.workers,
            )
        with self.progress.step(f"{name}Train the LSTM", recipe.lstm.steps) as advance:
            lstm = fit_lstm(LstmExamples(games.levels, margins, left), recipe.lstm, self.seed, advance)
        return linear, lstm, databases


def _lstm_residuals(lstm: Lstm, games: Games, margins: Floats) -> Floats:
    """What the LSTM says of games, (n, 47, 2 modes, 2 horizons), in points."""
    levels = games.levels
    by_mode = {MarginSource.UNKNOWN: np.full_like(margins, np.nan), MarginSource.KNOWN: margins}
    return np.stack([lstm.residuals(levels, by_mode[mode]) for mode in MARGIN_SOURCES], axis=2)
