"""Walk-forward of forecasts of total points: errors, scores and coverages, with bootstrap intervals over games.

For each season, everything is fitted on all seasons before it; it needs none of the models of margins. The scores of
each season are a file next to the folds of margins, written atomically, so that a killed walk-forward can resume.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

from dejavu_common.files import write_atomic
from dejavu_models.metrics import GameBootstrap
from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.coverage import LEVEL
from dejavu_trainer.evaluation.metrics import Compared, MetricsByForecaster, common_groups, losses, measure
from dejavu_trainer.evaluation.scoring.forecasts import read_scores, to_bytes
from dejavu_trainer.evaluation.scoring.totals import (
    LINE,
    LINE_RATE,
    RIVALS,
    SERVED,
    TotalForecasts,
    TotalScores,
    score_totals,
)
from dejavu_trainer.execution import Advance, ignore
from dejavu_trainer.training.totals import fit_totals

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


FORM: Final = 3
"""Format version of the files; incremented with every change of the forecasts, the scores or their storage."""


def backtest_totals(
    games: Games,
    seasons: Sequence[int],
    rating_steps: int,
    out: Path | None = None,
    *,
    fresh: bool = False,
    advance: Advance = ignore,
) -> list[TotalScores]:
    """Score the forecasts of totals of several seasons, and store the scores of each in a folder.

    Args:
        games: games of all seasons up to the last test season.
        seasons: test seasons, ascending.
        rating_steps: likelihood evaluations in the search for the settings of the ratings.
        out: existing folder for totals-{season}-{key}.npz; None: nothing is stored.
        fresh: whether to recompute every season.
        advance: called with 1 after each season.

    Returns:
        The scores of the seasons that have total points, and enough earlier games with total points.

    Raises:
        DataError: if stored scores can't be read.
    """
    result = []
    for season in seasons:
        scores = _stored_or_scored(games.select(games.season <= season), season, rating_steps, out, fresh=fresh)
        result += [] if scores is None else [scores]
        advance(1)
    return result


def _stored_or_scored(
    games: Games, season: int, rating_steps: int, out: Path | None, *, fresh: bool
) -> TotalScores | None:
    path = None if out is None else out / f"totals-{season}-{_key(games, season, rating_steps)}.npz"
    if path is not None and path.exists() and not fresh:
        return read_scores(path, TotalScores, TotalForecasts)
    earlier = games.select(games.season < season)
    totals = fit_totals(earlier, rating_steps, ignore)
    scores = None if totals is None else score_totals(totals, earlier, games.select(games.season == season))
    if path is not None and scores is not None:
        write_atomic(path, to_bytes(scores))
    return scores


def _key(games: Games, season: int, rating_steps: int) -> str:
    content = json.dumps([FORM, season, rating_steps, games.fingerprint])
    return hashlib.sha256(content.encode()).hexdigest()[:16]
