"""Computes errors, scores and coverages of forecasts of total points, with bootstrap intervals over games."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

from dejavu_models.metrics import GameBootstrap
from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.evaluation.coverage import LEVEL
from dejavu_trainer.evaluation.metrics import Compared, MetricsByForecaster, common_groups, losses, measure
from dejavu_trainer.evaluation.scoring.totals import LINE, LINE_RATE, RIVALS, SERVED, TotalScores

DIFFERENCES: Final = ("mae", "crps")
"""Scores that every forecaster has and for which differences are computed."""


OTHER_RIVALS: Final = {LINE: (SERVED[0], LINE_RATE)}
"""Forecasters that the line is also compared with: the same forecast without it, and the reference that knows it."""


_COMPARED: Final = Compared(
    (*SERVED, *RIVALS, LINE, LINE_RATE), lambda name: (*RIVALS, *OTHER_RIVALS.get(name, ())), DIFFERENCES
)


def compute_total_metrics(scores: TotalScores, *, seed: int = 0, resamples: int = 2000) -> MetricsByForecaster:
    """Compute all metrics of the totals of some games.

    Args:
        scores: pooled folds, at least one game.
        seed: random seed of the bootstrap over games.
        resamples: number of bootstrap resamples.

    Returns:
        By horizon, kind of group (all, season, minute, season at minute 12 or 24, late) and name of the group.
        Differences are to RIVALS and OTHER_RIVALS.
    """
    bootstrap = GameBootstrap(len(scores), seed=seed, resamples=resamples)
    return {
        horizon.value: measure(
            scores, horizon, [*common_groups(scores, horizon, main_minute(horizon))], _COMPARED, bootstrap
        )
        for horizon in HORIZONS
    }


def main_minute(horizon: Horizon) -> int:
    """Return the minute at which seasons are also compared: the middle of the time until the horizon."""
    return horizon.minutes // 2


class SeasonShare(NamedTuple):
    """Coverage of a season, and half the width of the interval that contains it at `coverage.LEVEL` if it is nominal.

    The width includes the sampling errors of the season's games and of those behind the residuals, as for margins.
    """

    share: float
    reach: float


def season_shares(
    scores: TotalScores, forecaster: str, horizon: Horizon, minute: int, level: int
) -> dict[str, SeasonShare]:
    """Return the coverage of totals from a minute, at a nominal level in %, by season."""
    held = losses(scores, forecaster, horizon)[f"coverage_{level}"][:, minute - 1]
    deviation = NormalDist().inv_cdf((1 + LEVEL) / 2) * math.sqrt(level / 100 * (1 - level / 100))
    result = {}
    for season in np.unique(scores.season).tolist():
        of_season = scores.season == season
        chance = 1 / of_season.sum() + 1 / scores.calibration_games[of_season][0]
        result[f"{season}"] = SeasonShare(float(held[of_season].mean()), deviation * math.sqrt(chance))
    return result
