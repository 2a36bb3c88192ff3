"""Training, calibration and test seasons of a retrain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from dejavu_feed.errors import DataError
from dejavu_trainer.evaluation.backtest import CALIBRATE_SEASONS

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
