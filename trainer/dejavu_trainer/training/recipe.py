"""Training configuration ("recipe") and the training of all models; used by backtests and by fits.

A recipe does not depend on seasons. Hyperparameters are selected in each run from its training games: the games are
split by date, trial models are fitted on the earlier ones and evaluated on the later ones, and the final models are
fitted on all of them with the selected settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from dejavu_feed.errors import DataError
from dejavu_models.point.dejavu import Dejavu
from dejavu_models.point.ensemble import PointEnsemble
from dejavu_models.point.linear import LinearModels
from dejavu_models.point.lstm import Lstm
from dejavu_models.types import MARGIN_SOURCES
from dejavu_trainer.data.split import hold_out_last
from dejavu_trainer.execution import Progress, cores
from dejavu_trainer.training.dejavu import (
    MINUTES,
    DejavuGrid,
    SelectedSettings,
    TrainingGames,
    build_all,
    predict_all,
    select_settings,
)
from dejavu_trainer.training.ensemble import TrialPredictions, WeightSelection, choose_weights
from dejavu_trainer.training.linear import fit_linear, linear_residuals
from dejavu_trainer.training.lstm_config import LstmConfig, LstmExamples, TrainedLstm
from dejavu_trainer.training.ratings import RatedGames, margins_in_mode

METHOD = 8
"""Version of the training code; incremented with every change that gives different models for the same games, so that
a verdict on older models is not reused."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Training configuration (recipe).

    Attributes:
        prototypes: maximum entries of each minute's Dejavu database; None: one entry per distinct course.
        prototypes_at: (minute, maximum entries) of minutes that have a maximum of their own.
        weights_share: share of the training games, the last ones, held out from the trial models. The combination of
            the models is fitted on their earlier half and compared with fixed weights on their later half.
        rating_steps: likelihood evaluations in the search for the ratings' settings.
        dejavu: candidates for the Dejavu settings.
        lstm: hyperparameters of the LSTM.
    """

    prototypes: int | None = None
    prototypes_at: tuple[tuple[int, int], ...] = ()
    weights_share: float = 0.3
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
        lstm: the fitted LSTM with its graph.
        dejavu: selected query settings of the databases.
        weights: selected combination of the models.
    """

    models: PointEnsemble
    lstm: TrainedLstm
    dejavu: SelectedSettings
    weights: WeightSelection


def train_models(
    rated: RatedGames,
    recipe: TrainingConfig,
    seed: int = 0,
    progress: Progress | None = None,
    workers: int | None = None,
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
    run = _Run(recipe, seed, progress or Progress(), workers or cores())
    earlier, later = hold_out_last(games.date, recipe.weights_share)
    fitting, comparing = hold_out_last(games.date[later], 0.5)
    choice, weights = run.select_hyperparameters(rated.select(earlier), rated.select(later), fitting, comparing)
    linear, lstm, databases = run.fit_all("", rated, choice, recipe.prototypes, dict(recipe.prototypes_at))
    models = PointEnsemble(linear, Lstm(lstm.graph), databases, weights.combination)
    return TrainedModels(models, lstm, choice, weights)


@dataclass(frozen=True, slots=True)
class _Run:
    recipe: TrainingConfig
    seed: int
    progress: Progress
    workers: int

    def select_hyperparameters(
        self, past: RatedGames, later: RatedGames, fitting: np.ndarray, comparing: np.ndarray
    ) -> tuple[SelectedSettings, WeightSelection]:
        """Select the Dejavu settings and the combination; `fitting` and `comparing` are masks of the later games."""
        recipe, grid = self.recipe, self.recipe.dejavu
        # Cluster trial databases in the same proportion as the final ones.
        share = len(past.games) / (len(past.games) + len(later.games))

        def scaled(count: int) -> int:
            return max(min(grid.neighbours), round(count * share))

        prototypes = recipe.prototypes and scaled(recipe.prototypes)
        at = {minute: scaled(count) for minute, count in recipe.prototypes_at}
        linear = fit_linear(*past, cube=True)
        targets = linear_residuals(linear, *later)
        known_games = TrainingGames(past.games, linear_residuals(linear, *past))
        queries = TrainingGames(later.games, targets).select(fitting)
        with self.progress.step("Select the Dejavu settings", grid.steps) as advance:
            choice = select_settings(known_games, queries, prototypes, grid, self.seed, advance, self.workers, at)
        _, lstm, databases = self.fit_all("Trial: ", past, choice, prototypes, at)
        with self.progress.step("Fit the ensemble weights", len(MINUTES)) as advance:
            from_neighbours = predict_all(databases, later.games, advance, self.workers)
            served, levels = Lstm(lstm.graph), later.games.levels
            by_mode = [served.residuals(levels, margins_in_mode(mode, later.margins)) for mode in MARGIN_SOURCES]
            from_lstm = np.stack(by_mode, axis=2)
            parts = [
                TrialPredictions(from_neighbours[part], from_lstm[part], targets[part]) for part in (fitting, comparing)
            ]
            return choice, choose_weights(*parts)

    def fit_all(
        self,
        name: str,
        rated: RatedGames,
        choice: SelectedSettings,
        prototypes: int | None,
        prototypes_at: Mapping[int, int],
    ) -> tuple[LinearModels, TrainedLstm, dict[int, Dejavu]]:
        """Fit all models on some games."""
        from dejavu_trainer.training.lstm import fit_lstm  # imported late: torch takes seconds, and only fits need it

        recipe, (games, margins) = self.recipe, rated
        linear = fit_linear(*rated, cube=True)
        residuals = linear_residuals(linear, *rated)
        with self.progress.step(f"{name}Build the Dejavu databases", len(MINUTES)) as advance:
            past = TrainingGames(games, residuals)
            databases = build_all(
                past, MINUTES, choice.settings, prototypes, self.seed, advance, self.workers, prototypes_at
            )
        with self.progress.step(f"{name}Train the LSTM", recipe.lstm.steps) as advance:
            lstm = fit_lstm(LstmExamples(games.levels, margins, residuals), recipe.lstm, self.seed, advance)
        return linear, lstm, databases
