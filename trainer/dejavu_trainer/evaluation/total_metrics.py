"""Walk-forward of forecasts of total points: errors, scores and coverages, with bootstrap intervals over games.

For each season, everything is fitted on all seasons before it; it needs none of the models of margins. The scores of
each season are a file next to the folds of margins, written atomically, so that a killed walk-forward can resume.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

from dejavu_common.files import write_atomic
from dejavu_feed.errors import DataError
from dejavu_models import metrics
from dejavu_models.arrays import Floats, from_npz, to_npz
from dejavu_models.metrics import Estimate, GameBootstrap
from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.coverage import LEVEL
from dejavu_trainer.evaluation.metrics import (
    LATE,
    GroupMetrics,
    MetricsByForecaster,
    cases_of,
    interval_losses,
    resampled_means,
)
from dejavu_trainer.evaluation.scoring.totals import LINE, LINE_RATE, RIVALS, SERVED, TotalScores, score_totals
from dejavu_trainer.execution import Advance, ignore
from dejavu_trainer.training.totals import fit_totals

DIFFERENCES: Final = ("mae", "crps")
"""Scores that every forecaster has and for which differences are computed."""


OTHER_RIVALS: Final = {LINE: (SERVED[0], LINE_RATE)}
"""Forecasters that the line is also compared with: the same forecast without it, and the reference that knows it."""


class _Group(NamedTuple):
    """A group of forecasts: games as a mask (n,), and the minutes from first to last."""

    kind: str
    name: str
    games: Floats
    first: int
    last: int

    def of(self, values: Floats) -> Floats:
        """Return the means by game of values (n, minutes of the horizon), (n,); 0 for games of other groups."""
        result: Floats = values[:, self.first - 1 : self.last].mean(axis=1) * self.games
        return result


def compute_total_metrics(scores: TotalScores, *, seed: int = 0, resamples: int = 2000) -> MetricsByForecaster:
    """Compute all metrics of the totals of some games.

    Args:
        scores: pooled folds, at least one game.
        seed: random seed of the bootstrap over games.
        resamples: number of bootstrap resamples.

    Returns:
        By horizon, kind of group (all, season, season at minute 12 or 24, late, minute) and name of the group.
        Differences are to RIVALS and OTHER_RIVALS.
    """
    bootstrap = GameBootstrap(len(scores), seed=seed, resamples=resamples)
    result: MetricsByForecaster = {}
    for horizon in HORIZONS:
        by_kind: dict[str, dict[str, GroupMetrics]] = {}
        groups = list(_groups(scores, horizon))
        weights = resampled_means(np.stack([group.games for group in groups], axis=1), bootstrap)
        means: dict[tuple[str, str], Floats] = {}
        for name in scores.forecasts:
            for metric, values in total_losses(scores, name, horizon).items():
                by_game = np.stack([group.of(values) for group in groups], axis=1)
                means[name, metric] = resampled_means(by_game, bootstrap) / np.maximum(weights, 1e-12)
        for column, group in enumerate(groups):
            by_kind.setdefault(group.kind, {})[group.name] = _measured(group, means, column, bootstrap)
        result[horizon.value] = by_kind
    return result


def main_minute(horizon: Horizon) -> int:
    """Return the minute at which seasons are also compared: the middle of the time until the horizon."""
    return horizon.minutes // 2


def total_losses(scores: TotalScores, forecaster: str, horizon: Horizon) -> dict[str, Floats]:
    """Compute the loss of each forecast by metric, (n, minutes); a metric is its mean."""
    forecasts, cases = scores.forecasts[forecaster], cases_of(horizon)
    outcome = scores.outcomes[:, [HORIZONS.index(horizon)]].astype(np.float64)
    result = {
        "mae": metrics.absolute_error(forecasts.point[:, cases], outcome),
        "crps": forecasts.crps[:, cases].astype(np.float64),
    }
    return result | interval_losses(forecasts, cases, outcome)


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
    held = total_losses(scores, forecaster, horizon)[f"coverage_{level}"][:, minute - 1]
    deviation = NormalDist().inv_cdf((1 + LEVEL) / 2) * math.sqrt(level / 100 * (1 - level / 100))
    result = {}
    for season in np.unique(scores.season).tolist():
        of_season = scores.season == season
        chance = 1 / of_season.sum() + 1 / scores.calibration_games[of_season][0]
        result[f"{season}"] = SeasonShare(float(held[of_season].mean()), deviation * math.sqrt(chance))
    return result


def _groups(scores: TotalScores, horizon: Horizon) -> Iterator[_Group]:
    everyone, last, main = np.ones(len(scores)), horizon.last_slot, main_minute(horizon)
    yield _Group("all", "all", everyone, 1, last)
    for season in np.unique(scores.season):
        of_season = (scores.season == season).astype(np.float64)
        yield _Group("season", f"{season}", of_season, 1, last)
        yield _Group(f"season at minute {main}", f"{season}", of_season, main, main)
    if last >= LATE[1]:
        yield _Group("late", f"{LATE[0]}–{LATE[1]}", everyone, *LATE)
    for minute in range(1, last + 1):
        yield _Group("minute", f"{minute}", everyone, minute, minute)


def _measured(
    group: _Group, means: dict[tuple[str, str], Floats], column: int, bootstrap: GameBootstrap
) -> GroupMetrics:
    games = int(group.games.sum())
    result = GroupMetrics(games, games * (group.last - group.first + 1), {}, {}, {})
    for (name, metric), of_metric in means.items():
        own = of_metric[:, column]
        result.values.setdefault(name, {})[metric] = _estimate(own, bootstrap)
        for rival in (*RIVALS, *OTHER_RIVALS.get(name, ())):
            if metric not in DIFFERENCES or name == rival:
                continue
            other = means[rival, metric][:, column]
            result.differences.setdefault(name, {}).setdefault(rival, {})[metric] = _estimate(own - other, bootstrap)
            if (other > 0).all():
                relative = _estimate(own / other - 1, bootstrap)
                result.relative.setdefault(name, {}).setdefault(rival, {})[metric] = relative
    return result


def _estimate(values: Floats, bootstrap: GameBootstrap) -> Estimate:
    (lower,), (upper,) = bootstrap.intervals(values[1:, None]).tolist()
    return Estimate(float(values[0]), lower, upper)


FORM: Final = 2
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
        return _read(path)
    earlier = games.select(games.season < season)
    totals = fit_totals(earlier, rating_steps, ignore)
    scores = None if totals is None else score_totals(totals, earlier, games.select(games.season == season))
    if path is not None and scores is not None:
        write_atomic(path, to_npz(**scores.to_arrays()))
    return scores


def _key(games: Games, season: int, rating_steps: int) -> str:
    content = json.dumps([FORM, season, rating_steps, games.fingerprint])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _read(path: Path) -> TotalScores:
    try:
        return TotalScores.from_arrays(from_npz(path.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: is not a valid file of scores: {error}; use --fresh to recompute it") from error
