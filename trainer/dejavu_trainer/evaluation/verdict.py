"""Decides whether forecasts are fit to be served: they must beat persistence, and coverage must be nominal.

Coverage must be nominal over all minutes, in every group by minute and |lead|, and must not differ between seasons by
more than chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from dejavu_models.manifest import MAX_TEXT
from dejavu_models.metrics import GameBootstrap
from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.evaluation.checks import Check, coverage_check, groups_check, seasons_check, series_name
from dejavu_trainer.evaluation.coverage import LEVEL, CoverageGroup, coverage_groups, coverages
from dejavu_trainer.evaluation.metrics import LEVELS, losses, pool
from dejavu_trainer.evaluation.scoring.fold_scores import FoldScores, served
from dejavu_trainer.evaluation.season_coverage import SeasonCoverage, season_coverages


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether forecasts may be served, the reason in a sentence or two, and all checks."""

    fit: bool
    reason: str
    checks: tuple[Check, ...]


def judge(
    folds: Sequence[FoldScores],
    *,
    seed: int = 0,
    resamples: int = 2000,
    groups: Sequence[CoverageGroup] | None = None,
    seasons: Sequence[SeasonCoverage] | None = None,
) -> Verdict:
    """Decide whether the tested forecasts may be served.

    Requirements for each horizon: the CRPS over all minutes is significantly below persistence's on the same games,
    by a 95 % bootstrap interval over games; coverage is nominal over all minutes and in every group by minute and
    |lead|; with several seasons, it does not differ between them by more than chance. The CRPS is not significantly
    above that of the linear reference, fitted anew for each season: a chain of challengers, each a little worse than
    the one before, does not fall behind it.
    For forecasters other than "served", the CRPS must only not be significantly above persistence's, which is hard to
    beat at halftime without teams or with frozen ratings; the requirements on coverage are the same.

    Args:
        folds: at least one fold: a single season, or those of a walk-forward.
        seed: random seed of the bootstrap and of the simulated seasons.
        resamples: number of bootstrap resamples.
        groups: the `coverage_groups` of the folds, if they are known.
        seasons: their `season_coverages`, if these are known.

    Raises:
        ValueError: if there is no fold.
    """
    pooled = pool(folds)
    bootstrap = GameBootstrap(len(pooled), seed=seed, resamples=resamples)
    checks = [
        _against(pooled, forecaster, "persistence", horizon, bootstrap)
        for forecaster, horizon in product(served(folds), HORIZONS)
    ]
    checks += [_against(pooled, "served", "linear", horizon, bootstrap) for horizon in HORIZONS]
    # Bonferroni: if all coverages are nominal, all checks pass with probability LEVEL at least.
    corrected = 1 - (1 - LEVEL) / (len(served(folds)) * len(HORIZONS) * len(LEVELS))
    checks += [
        coverage_check(f"coverage at {each.level} %, {series_name(each.forecaster, each.horizon)}", each, corrected)
        for each in coverages(folds, corrected)
    ]
    checks.append(groups_check(coverage_groups(folds) if groups is None else groups))
    if by_season := season_coverages(folds, seed) if seasons is None else seasons:
        checks.append(seasons_check(by_season))
    failed = [check for check in checks if not check.passed]
    tested = f"{len(pooled):,} games of {', '.join(map(str, np.unique(pooled.season)))}"
    if failed:
        return Verdict(False, _reason(f"On {tested}", failed), tuple(checks))
    reason = (
        f"On {tested}: CRPS below persistence for both horizons, not above linear; coverage consistent with nominal in "
        f"every group{' and season' * (len(folds) > 1)}."
    )
    return Verdict(True, reason, tuple(checks))


def _reason(tested: str, failed: Sequence[Check]) -> str:
    """Return the failed checks: at most three, and not more than fit in MAX_TEXT characters."""
    failures = [f"{check.name}: {check.found} (required: {check.promise})" for check in failed]
    for shown in (3, 2, 1):
        more = [f"and {len(failures) - shown} more"] if len(failures) > shown else []
        reason = f"{tested}: {'; '.join([*failures[:shown], *more])}."
        if len(reason) <= MAX_TEXT:
            return reason
    return f"{tested}: {len(failures)} requirements are not met; the report of the backtest has them."


def _against(pooled: FoldScores, forecaster: str, reference: str, horizon: Horizon, bootstrap: GameBootstrap) -> Check:
    own, other = (losses(pooled, name, horizon)["crps"].mean(axis=1) for name in (forecaster, reference))
    difference = bootstrap.difference(own, other)
    better = (forecaster, reference) == ("served", "persistence")
    return Check(
        name=f"CRPS, {series_name(forecaster, horizon.value)}, minus {reference}",
        promise="95 % interval entirely below 0" if better else "95 % interval not entirely above 0",
        found=f"{difference:+.4f} points",
        passed=difference.upper < 0 if better else difference.lower <= 0,
    )
