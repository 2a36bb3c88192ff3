"""The result of a walk-forward: all that its reports show, and what is kept of it for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from dejavu_models import metrics
from dejavu_models.arrays import Floats
from dejavu_models.metrics import Estimate, GameBootstrap
from dejavu_trainer.evaluation.acceptance import promises
from dejavu_trainer.evaluation.fold_scores import FoldScores
from dejavu_trainer.evaluation.metrics import MetricsByForecaster, compute_metrics, pool
from dejavu_trainer.evaluation.verdict import (
    Check,
    CoverageCheck,
    CoverageGroup,
    Verdict,
    coverage_groups,
    coverages,
    judge,
)

RESULT_STEPS: Final = 3
"""How often `result_of` tells how far it is."""

EXPECTATIONS: Final = ("carried", "frozen", "home advantage")
"""Of a game before it begins: by ratings carried from game to game, by ratings as they stood before the season, and by
who plays at home alone."""


@dataclass(frozen=True, slots=True)
class RunProvenance:
    """What was tested.

    Attributes:
        recipe: its digest.
        prototypes: entries of each minute's database; None: all games.
        seed: of everything random.
        data: SHA-256 of the games.
    """

    recipe: str
    prototypes: int | None
    seed: int
    data: str


@dataclass(frozen=True, slots=True)
class FoldInfo:
    """What one season's models were made from."""

    season: int
    games: int
    train_seasons: tuple[int, ...]
    calibration_seasons: tuple[int, ...]
    calibration_games: int


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """What came out of a walk-forward.

    Attributes:
        folds: what was tested, in order.
        verdict: whether the recipe's forecasts may be served.
        promises: what they promise beyond that; not all can be told of a few games.
        ratings: by EXPECTATIONS and metric (mae, rmse, in points): error of the final differential expected before
            tip-off.
        figures: all others.
        coverages: over all minutes.
        groups: by minute and |lead|.
    """

    method: RunProvenance
    folds: tuple[FoldInfo, ...]
    verdict: Verdict
    promises: tuple[Check, ...]
    ratings: dict[str, dict[str, Estimate]]
    figures: MetricsByForecaster
    coverages: tuple[CoverageCheck, ...]
    groups: tuple[CoverageGroup, ...]

    @property
    def games(self) -> int:
        """How many games were tested."""
        return sum(fold.games for fold in self.folds)


def result_of(
    folds: Sequence[FoldScores],
    method: RunProvenance,
    *,
    resamples: int = 2000,
    advance: Callable[[int], object] | None = None,
) -> BacktestResult:
    """Takes all figures of some folds.

    Args:
        folds: at least one, each of one season.
        method: what was tested.
        resamples: of the bootstrap over games.
        advance: called with 1 after each of RESULT_STEPS.
    """
    told = advance or (lambda _: None)
    found = compute_metrics(folds, seed=method.seed, resamples=resamples, advance=told)
    of_all, groups = coverages(folds), coverage_groups(folds)
    verdict = judge(folds, seed=method.seed, resamples=resamples)
    told(1)
    return BacktestResult(
        method=method,
        folds=tuple(
            FoldInfo(
                season=int(fold.season[0]),
                games=len(fold),
                train_seasons=fold.train_seasons,
                calibration_seasons=fold.calibration_seasons,
                calibration_games=fold.calibration_games,
            )
            for fold in folds
        ),
        verdict=verdict,
        promises=promises(folds, found, of_all, groups),
        ratings=rating_errors(folds, method.seed, resamples),
        figures=found,
        coverages=tuple(of_all),
        groups=tuple(groups),
    )


def rating_errors(folds: Sequence[FoldScores], seed: int, resamples: int) -> dict[str, dict[str, Estimate]]:
    """By EXPECTATIONS: MAE and RMSE of the final differential expected before tip-off, in points."""
    pooled = pool(folds)
    home = np.concatenate([np.full(len(fold), fold.home_advantage) for fold in folds])
    bootstrap = GameBootstrap(len(pooled), seed=seed, resamples=resamples)
    final = pooled.outcomes[:, 1]
    expected: dict[str, Floats] = dict(
        zip(EXPECTATIONS, (pooled.margins.astype(float), pooled.frozen_margins.astype(float), home), strict=True)
    )
    return {
        name: {
            "mae": bootstrap.mean(metrics.absolute_error(margins, final)),
            "rmse": bootstrap.root_mean(metrics.squared_error(margins, final)),
        }
        for name, margins in expected.items()
    }


def to_json(result: BacktestResult) -> str:
    """The result for programs; docs/evaluation.md says what is where."""
    document = {
        "recipe": result.method.recipe,
        "seasons": [fold.season for fold in result.folds],
        **_plain(asdict(result)),
    }
    return json.dumps(document, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """With figures in brackets, value, lower and upper end, and no more digits than mean something."""
    if isinstance(value, dict):
        if value.keys() == {"value", "lower", "upper"}:
            return [_plain(value[key]) for key in ("value", "lower", "upper")]
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return value
