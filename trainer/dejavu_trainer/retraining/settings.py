"""Settings, seasons and result of a retrain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from dejavu_feed.errors import DataError
from dejavu_trainer.evaluation.backtest import CALIBRATE_SEASONS
from dejavu_trainer.execution import HERE, Execution
from dejavu_trainer.retraining.sources import ProblemKind, SourceGames
from dejavu_trainer.retraining.triggers import Trigger, TriggerSettings
from dejavu_trainer.tracking import TrackedRun
from dejavu_trainer.training.recipe import TrainingConfig

CALIBRATION_GAMES: Final = 2000
"""Minimum number of games to calibrate on: with fewer, the sampling error of the calibration costs more than older
games do."""

TEST_SEASONS: Final = 2
"""Maximum number of seasons that a retrain backtests; each takes as long as a fit."""

TEST_GAMES: Final = 300
"""Minimum number of games of a tested season."""


@dataclass(frozen=True, slots=True)
class SeasonPlan:
    """The seasons of a retrain, each by the year in which it ends.

    Attributes:
        train: training seasons of the bundle.
        calibrate: the later seasons, on which its intervals are calibrated.
        test: seasons of the walk-forward; none if there are too few for one.
        calibrate_seasons: calibration seasons of each of its folds.
    """

    train: tuple[int, ...]
    calibrate: tuple[int, ...]
    test: tuple[int, ...]
    calibrate_seasons: int


def plan_seasons(
    games: Mapping[int, int],
    *,
    calibration_games: int = CALIBRATION_GAMES,
    test_seasons: int = TEST_SEASONS,
    test_games: int = TEST_GAMES,
) -> SeasonPlan:
    """Choose the seasons: calibrate on the newest ones that together have enough games, including the season in play.

    Args:
        games: number of games by season.
        calibration_games: minimum number of games to calibrate on.
        test_seasons: maximum number of seasons to test; 0: none.
        test_games: minimum number of games of a tested season.

    Raises:
        DataError: if no season is left to train on.
    """
    seasons = sorted(games)
    calibrate = list[int]()
    while seasons and sum(games[season] for season in calibrate) < calibration_games:
        calibrate.insert(0, seasons.pop())
    if not seasons:
        raise DataError(
            f"{sum(games.values()):,} games of {len(games)} seasons; expected {calibration_games:,} to calibrate on,"
            " and an earlier season to train on"
        )
    for span in range(CALIBRATE_SEASONS, 0, -1):
        if test := _testable(games, span, test_games):
            return SeasonPlan(
                tuple(seasons), tuple(calibrate), tuple(test[-test_seasons:] if test_seasons else ()), span
            )
    return SeasonPlan(tuple(seasons), tuple(calibrate), (), 1)


def _testable(games: Mapping[int, int], span: int, test_games: int) -> list[int]:
    """Return the seasons with enough games that follow `span` seasons to calibrate on and at least one before those."""
    return [
        season
        for season in sorted(games)
        if games[season] >= test_games
        and all(before in games for before in range(season - span, season))
        and min(games) < season - span
    ]


@dataclass(frozen=True, slots=True)
class RetrainSettings:
    """Settings of a retrain.

    Attributes:
        sources: sources of the games; see `gather`.
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
        calibration_games, test_seasons, test_games: see `plan_seasons`.
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
