"""Training configuration ("recipe") and the training of all models; used by backtests and by fits.

A recipe does not depend on seasons. The settings of Dejavu are selected in each run from its training games: trial
databases of the earlier ones are evaluated on the later ones, and the final ones have all of them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

from dejavu_feed.errors import DataError
from dejavu_models.point.lstm import Lstm
from dejavu_models.point.models import PointModels
from dejavu_trainer.data.split import hold_out_last
from dejavu_trainer.execution import HERE, Execution, Progress
from dejavu_trainer.training.dejavu import (
    MINUTES,
    DejavuGrid,
    SelectedSettings,
    TrainingGames,
    build_all,
    select_settings,
)
from dejavu_trainer.training.linear import fit_linear, linear_residuals
from dejavu_trainer.training.lstm_config import LstmConfig, LstmExamples, TrainedLstm
from dejavu_trainer.training.ratings import RatedGames

METHOD = 10
"""Version of the training code; incremented with every change that gives different models for the same games, so that
a verdict on older models is not reused."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Training configuration (recipe).

    Attributes:
        prototypes: maximum entries of each minute's Dejavu database; None: one entry per distinct course.
        prototypes_at: (minute, maximum entries) of minutes that have a maximum of their own.
        held_out: share of the training games, the last ones, on which the Dejavu settings are selected.
        rating_steps: likelihood evaluations in the search for the ratings' settings.
        dejavu: candidates for the Dejavu settings.
        lstm: hyperparameters of the LSTM.
    """

    prototypes: int | None = None
    prototypes_at: tuple[tuple[int, int], ...] = ()
    held_out: float = 0.3
    rating_steps: int = 60
    dejavu: DejavuGrid = field(default_factory=DejavuGrid)
    lstm: LstmConfig = field(default_factory=LstmConfig)

    @property
    def digest(self) -> str:
        """Hash that identifies the recipe: the first 16 hexadecimal digits of a SHA-256."""
        content = {"method": METHOD, **asdict(self)}
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class TrainedModels:
    """Trained models and selected settings.

    Attributes:
        models: all models, without calibration.
        lstm: the fitted LSTM.
        dejavu: selected query settings of the databases.
    """

    models: PointModels
    lstm: TrainedLstm
    dejavu: SelectedSettings


def train_models(
    rated: RatedGames,
    recipe: TrainingConfig,
    seed: int = 0,
    progress: Progress | None = None,
    execution: Execution = HERE,
) -> TrainedModels:
    """Train all models on games with margins from carried ratings; the other arguments are those of `fit_recipe`.

    The same games, recipe and seed give the same models on the same machine.

    Raises:
        DataError: if there are too few games.
        FitError: if the LSTM can't be fitted.
    """
    games = rated.games
    # With fewer prototypes, most of them would be neighbours of every pattern.
    minimum = 2 * min(recipe.dejavu.neighbours)
    if recipe.prototypes is not None and not minimum <= recipe.prototypes <= len(games):
        raise DataError(
            f"{recipe.prototypes} prototypes per minute; expected {minimum} to {len(games)}, the training games"
        )
    for minute, count in recipe.prototypes_at:
        if count < minimum:
            raise DataError(f"{count} prototypes at minute {minute}; expected {minimum} or more")
    run = _Run(recipe, seed, progress or Progress(), execution)
    choice = run.select_settings(*(rated.select(part) for part in hold_out_last(games.date, recipe.held_out)))
    return run.fit(rated, choice)


@dataclass(frozen=True, slots=True)
class _Run:
    recipe: TrainingConfig
    seed: int
    progress: Progress
    execution: Execution

    def select_settings(self, past: RatedGames, later: RatedGames) -> SelectedSettings:
        """Select the settings of Dejavu on the later games."""
        recipe, grid = self.recipe, self.recipe.dejavu
        # Cluster trial databases in the same proportion as the final ones.
        share = len(past.games) / (len(past.games) + len(later.games))

        def scaled(count: int) -> int:
            return max(min(grid.neighbours), round(count * share))

        prototypes = recipe.prototypes and scaled(recipe.prototypes)
        at = {minute: scaled(count) for minute, count in recipe.prototypes_at}
        linear = fit_linear(*past, cube=True)
        known, queries = (TrainingGames(part.games, linear_residuals(linear, *part)) for part in (past, later))
        with self.progress.step("Select the Dejavu settings", grid.steps) as advance:
            return select_settings(known, queries, prototypes, grid, self.seed, advance, self.execution, at)

    def fit(self, rated: RatedGames, choice: SelectedSettings) -> TrainedModels:
        """Fit all models on all games."""
        from dejavu_trainer.training.lstm import fit_lstm  # imported late: torch takes seconds, and only fits need it

        recipe, (games, margins) = self.recipe, rated
        linear = fit_linear(*rated, cube=True)
        residuals = linear_residuals(linear, *rated)
        with self.progress.step("Build the Dejavu databases", len(MINUTES)) as advance:
            past, at = TrainingGames(games, residuals), dict(recipe.prototypes_at)
            databases = build_all(past, MINUTES, choice, recipe.prototypes, self.seed, advance, self.execution, at)
        with self.progress.step("Train the LSTM", recipe.lstm.steps) as advance:
            lstm = fit_lstm(LstmExamples(games.levels, margins, residuals), recipe.lstm, self.seed, advance)
        return TrainedModels(PointModels(linear, Lstm(lstm.content), databases), lstm, choice)
