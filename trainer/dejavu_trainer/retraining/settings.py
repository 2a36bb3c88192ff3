"""Settings and seasons of a retrain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from dejavu_feed.errors import DataError
from dejavu_trainer.evaluation.backtest import CALIBRATE_SEASONS
from dejavu_trainer.execution import HERE, Execution
from dejavu_trainer.retraining.sources import ProblemKind
from dejavu_trainer.training.recipe import TrainingConfig


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


@dataclass(frozen=True, slots=True)
class RetrainSettings:
    """Settings of a retrain.

    Attributes:
        sources: sources of the games; see `gather`.
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
        calibration_games: minimum number of games to calibrate on: with fewer, the sampling error of the calibration
            costs more than older games do.
        test_seasons: maximum number of seasons to backtest, each of which takes as long as a fit; 0: none.
        test_games: minimum number of games of a tested season.
        execution: where folds and other independent pieces run.
        new_games: new games that make a new model due; by default about a third of a season.
        season_games: minimum number of games of a new season, which makes a new model due when it is over.
        pause_games: minimum number of new games for coverage and drift to be checked, and for a partly known season to
            count as new.
        coverage_tolerance: tolerated deviation of a coverage; see `missed_coverages`.
        accepted: kinds of problems of the games that do not stop it.
        allow_unfit: whether to publish a model whose recipe failed its backtest.
        today: returns today's date.
    """

    sources: tuple[str, ...]
    store: str = ""
    server: str = ""
    mlflow: str = ""
    parent: Path | None = None
    reason: str = ""
    seasons: tuple[int, ...] = ()
    include_replays: bool = False
    seed: int = 0
    recipe: TrainingConfig = field(default_factory=TrainingConfig)
    calibration_games: int = 2000
    test_seasons: int = 2
    test_games: int = 300
    execution: Execution = HERE
    new_games: int = 400
    season_games: int = 300
    pause_games: int = 100
    coverage_tolerance: float = 0.02
    accepted: frozenset[ProblemKind] = frozenset()
    allow_unfit: bool = False
    today: Callable[[], date] = lambda: datetime.now(UTC).date()


def plan_seasons(games: Mapping[int, int], settings: RetrainSettings) -> SeasonPlan:
    """Choose the seasons: calibrate on the newest ones that together have enough games, including the season in play.

    Args:
        games: number of games by season.
        settings: bounds.

    Raises:
        DataError: if no season is left to train on.
    """
    seasons, calibrate = sorted(games), list[int]()
    while seasons and sum(games[season] for season in calibrate) < settings.calibration_games:
        calibrate.insert(0, seasons.pop())
    if not seasons:
        raise DataError(
            f"{sum(games.values()):,} games of {len(games)} seasons; expected {settings.calibration_games:,} to"
            " calibrate on, and an earlier season to train on"
        )
    testable, span = list[int](), CALIBRATE_SEASONS
    for span in range(CALIBRATE_SEASONS, 0, -1):
        # Seasons with enough games that follow `span` seasons to calibrate on and at least one before those.
        testable = [
            season
            for season in sorted(games)
            if games[season] >= settings.test_games
            and all(before in games for before in range(season - span, season))
            and min(games) < season - span
        ]
        if testable:
            break
    tested = tuple(testable[-settings.test_seasons :]) if settings.test_seasons else ()
    return SeasonPlan(tuple(seasons), tuple(calibrate), tested, span)
