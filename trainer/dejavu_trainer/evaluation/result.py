"""Result of a walk-forward, shown in the reports and stored as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Final

import numpy as np

from dejavu_models import metrics
from dejavu_models.arrays import Floats
from dejavu_models.metrics import Estimate, GameBootstrap
from dejavu_trainer.evaluation.acceptance import acceptance_checks, moment_checks, total_checks
from dejavu_trainer.evaluation.coverage import (
    CoverageCheck,
    CoverageGroup,
    GroupPower,
    coverage_groups,
    coverages,
    group_powers,
)
from dejavu_trainer.evaluation.metrics import MetricsByForecaster, compute_metrics
from dejavu_trainer.evaluation.moments import MomentFigures, compute_moment_metrics
from dejavu_trainer.evaluation.scoring.fold_scores import FoldScores
from dejavu_trainer.evaluation.scoring.forecasts import pool
from dejavu_trainer.evaluation.scoring.totals import TotalScores
from dejavu_trainer.evaluation.season_coverage import SeasonCoverage, season_coverages
from dejavu_trainer.evaluation.total_metrics import compute_total_metrics
from dejavu_trainer.evaluation.verdict import Check, Verdict, judge
from dejavu_trainer.execution import Advance, ignore

RESULT_STEPS: Final = 3
"""Number of progress updates of `result_of`."""

EXPECTATIONS: Final = ("hindsight", "carried", "frozen", "home advantage")
"""Sources of the pregame expected margin: ratings from all other games of the season, carried ratings, ratings frozen
before the season, and home advantage alone."""


@dataclass(frozen=True, slots=True)
class RunProvenance:
    """Provenance of a run.

    Attributes:
        recipe: digest of the recipe.
        seed: random seed.
        data: SHA-256 of the games.
        data_by_season: SHA-256 of the games of each season, for the comparison by `fit --backtest`.
    """

    recipe: str
    seed: int
    data: str
    data_by_season: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FoldInfo:
    """Seasons and games of one fold."""

    season: int
    games: int
    train_seasons: tuple[int, ...]
    calibration_seasons: tuple[int, ...]
    calibration_games: int


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """Result of a walk-forward.

    Attributes:
        method: provenance of the run.
        folds: the tested folds, in order.
        verdict: whether the recipe's forecasts may be served.
        promises: acceptance checks; they are aims that do not decide the verdict.
        ratings: error of the pregame expected margin, by EXPECTATIONS and metric (mae, rmse, in points).
        figures: all other metrics.
        coverages: coverage over all minutes.
        season_coverages: coverage by season, and its standard deviation between seasons; empty for a single season.
        groups: coverage by minute and |lead|.
        power: power of the test of a group, by level, for groups of several sizes.
        totals: metrics of total points (`compute_total_metrics`); None without any.
        moments: scores at moments (`compute_moment_metrics`); None without any.
    """

    method: RunProvenance
    folds: tuple[FoldInfo, ...]
    verdict: Verdict
    promises: tuple[Check, ...]
    ratings: dict[str, dict[str, Estimate]]
    figures: MetricsByForecaster
    coverages: tuple[CoverageCheck, ...]
    season_coverages: tuple[SeasonCoverage, ...]
    groups: tuple[CoverageGroup, ...]
    power: tuple[GroupPower, ...]
    totals: MetricsByForecaster | None = None
    moments: MomentFigures | None = None

    @property
    def games(self) -> int:
        """Number of test games."""
        return sum(fold.games for fold in self.folds)


def result_of(
    folds: Sequence[FoldScores],
    method: RunProvenance,
    totals: Sequence[TotalScores] = (),
    *,
    resamples: int = 2000,
    advance: Advance = ignore,
) -> BacktestResult:
    """Compute all metrics, all checks and the verdict of some folds.

    Args:
        folds: at least one fold, each of one season.
        method: provenance of the run.
        totals: scores of total points in the same seasons; empty: none.
        resamples: number of bootstrap resamples over games.
        advance: called with 1 after each of RESULT_STEPS.
    """
    metrics_by_forecaster = compute_metrics(folds, seed=method.seed, resamples=resamples, advance=advance)
    groups, seasons = coverage_groups(folds), season_coverages(folds, method.seed)
    verdict = judge(folds, seed=method.seed, resamples=resamples, groups=groups, seasons=seasons)
    of_totals, checks_of_totals = None, tuple[Check, ...]()
    if totals:
        pooled = pool(totals)
        of_totals = compute_total_metrics(pooled, seed=method.seed, resamples=resamples)
        checks_of_totals = total_checks(of_totals, pooled)
    of_moments = compute_moment_metrics(folds, seed=method.seed, resamples=resamples)
    checks_of_moments = () if of_moments is None else moment_checks(of_moments)
    advance(1)
    return BacktestResult(
        method=method,
        folds=tuple(
            FoldInfo(
                int(fold.season[0]), len(fold), fold.train_seasons, fold.calibration_seasons, fold.calibration_games
            )
            for fold in folds
        ),
        verdict=verdict,
        promises=(*acceptance_checks(metrics_by_forecaster, seasons, groups), *checks_of_totals, *checks_of_moments),
        ratings=rating_errors(folds, method.seed, resamples),
        figures=metrics_by_forecaster,
        coverages=tuple(coverages(folds)),
        season_coverages=tuple(seasons),
        groups=tuple(groups),
        power=tuple(group_powers(groups)),
        totals=of_totals,
        moments=of_moments,
    )


def rating_errors(folds: Sequence[FoldScores], seed: int, resamples: int) -> dict[str, dict[str, Estimate]]:
    """Compute MAE and RMSE of the pregame expected margin, in points, by EXPECTATIONS."""
    pooled = pool(folds)
    home = np.concatenate([np.full(len(fold), fold.home_advantage) for fold in folds])
    bootstrap = GameBootstrap(len(pooled), seed=seed, resamples=resamples)
    final = pooled.outcomes[:, 1]
    expected: dict[str, Floats] = dict(
        zip(
            EXPECTATIONS,
            (
                *(each.astype(float) for each in (pooled.hindsight_margins, pooled.margins, pooled.frozen_margins)),
                home,
            ),
            strict=True,
        )
    )
    return {
        name: {
            "mae": bootstrap.mean(metrics.absolute_error(margins, final)),
            "rmse": bootstrap.root_mean(metrics.squared_error(margins, final)),
        }
        for name, margins in expected.items()
    }


def to_json(result: BacktestResult) -> str:
    """Serialize the result as JSON; docs/evaluation.md documents the format."""
    document = {
        "recipe": result.method.recipe,
        "seasons": [fold.season for fold in result.folds],
        **_plain(result),
    }
    return json.dumps(document, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Round numbers to six significant digits; tuples, such as estimates, become lists, and data classes dicts."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    return value
