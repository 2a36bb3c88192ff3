"""Settings and result of a retrain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from dejavu_trainer.execution import HERE, Execution
from dejavu_trainer.retraining.data_checks import ProblemKind
from dejavu_trainer.retraining.seasons import CALIBRATION_GAMES, TEST_GAMES, TEST_SEASONS
from dejavu_trainer.retraining.sources import SourceGames
from dejavu_trainer.retraining.triggers import Trigger, TriggerSettings
from dejavu_trainer.tracking import TrackedRun
from dejavu_trainer.training.recipe import TrainingConfig


@dataclass(frozen=True, slots=True)
class RetrainSettings:
    """Settings of a retrain.

    Attributes:
        sources: sources of the games; see `sources.gather`.
        work: folder for the results of its steps.
        store: address of the model store that gets the challenger; none if empty.
        server: address of a server of that store, which stages it; none if empty.
        mlflow: address of a tracking server that gets it too; none if empty.
        parent: folder of the bundle that serves; by default the model of the server or, without a server, the shipped
            bundle.
        reason: reason of an unconditional retrain; empty if the triggers decide.
        seasons: seasons to read; all if empty.
        include_replays: whether to take games of replays from ledgers.
        seed: random seed, at least 0.
        recipe: the training configuration.
        calibration_games, test_seasons, test_games: see `seasons.plan_seasons`.
        execution: where folds and other independent pieces run.
        triggers: bounds of the triggers.
        accepted: kinds of problems of the games that do not stop it.
        allow_unfit: whether to publish a model whose recipe failed its backtest.
        today: returns today's date; by default the date of the clock.
    """

    sources: tuple[str, ...]
    work: Path
    store: str = ""
    server: str = ""
    mlflow: str = ""
    parent: Path | None = None
    reason: str = ""
    seasons: tuple[int, ...] = ()
    include_replays: bool = False
    seed: int = 0
    recipe: TrainingConfig = field(default_factory=TrainingConfig)
    calibration_games: int = CALIBRATION_GAMES
    test_seasons: int = TEST_SEASONS
    test_games: int = TEST_GAMES
    execution: Execution = HERE
    triggers: TriggerSettings = field(default_factory=TriggerSettings)
    accepted: frozenset[ProblemKind] = frozenset()
    allow_unfit: bool = False
    today: Callable[[], date] | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """Whether a new model is due.

    Attributes:
        triggers: met triggers; none: no model is due.
        parent: version of the model that serves; empty if there is none.
        compared_with: version of the model whose games the triggers were compared with: `parent`, or a challenger that
            was published, or found unfit, since.
        sources: sources read.
        games: number of games read.
        newer: number of these games that are later than those of `compared_with`.
        unfit: whether `compared_with` was found unfit, and not published.
    """

    triggers: tuple[Trigger, ...]
    parent: str
    compared_with: str
    sources: tuple[SourceGames, ...]
    games: int
    newer: int
    unfit: bool = False


@dataclass(frozen=True, slots=True)
class Challenger:
    """A challenger that was made and published.

    Attributes:
        due: why it was made.
        bundle: folder of its bundle.
        model_version: its version.
        plan: seasons by their part.
        verdict: of the backtest.
        drifts: differences between the games of the basis and newer ones, with alarm or without.
        tracked: run in MLflow; None without it.
    """

    due: Due
    bundle: Path
    model_version: str
    plan: dict[str, Any]
    verdict: dict[str, Any]
    drifts: list[dict[str, Any]]
    tracked: TrackedRun | None
