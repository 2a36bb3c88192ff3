"""Decides whether forecasts are fit to be served: they must beat persistence, and coverage must be nominal.

Coverage must be nominal over all minutes, of each season too, and in every group by minute and |lead|. The verdict of a
bundle is from a walk-forward of its recipe, or from one holdout test on the last calibration games, which fits the
recipe a second time without these games. The bundle is fitted on all games.

The aims of the recipe are further checks on the figures of a walk-forward, which do not decide the verdict.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.errors import DataError
from dejavu_models.manifest import MAX_TEXT, VerdictRecord
from dejavu_models.metrics import Estimate
from dejavu_trainer.data.games import Games, hold_out_last
from dejavu_trainer.evaluation.coverage import (
    LEVEL,
    MIN_GAMES,
    POWER,
    CoverageGroup,
    EmpiricalCoverage,
    coverage,
    coverage_by_season,
    coverage_groups,
    detected_rate,
)
from dejavu_trainer.evaluation.figures import (
    ALL,
    LATE_NAME,
    LEVELS,
    MARGINS,
    OVERTIME,
    Figures,
    Table,
)
from dejavu_trainer.evaluation.fold_scores import score, served
from dejavu_trainer.execution import Progress
from dejavu_trainer.training.calibrate import CalibratedModels
from dejavu_trainer.training.recipe import TrainingConfig


@dataclass(frozen=True, slots=True)
class Check:
    """A requirement (the promise), the result, and whether the result meets the requirement."""

    name: str
    promise: str
    found: str
    passed: bool


def coverage_check(name: str, result: EmpiricalCoverage, probability: float = LEVEL) -> Check:
    """Check that the interval of a coverage contains the expected coverage.

    Args:
        name: name of the check.
        result: the coverage, with its interval.
        probability: confidence level of the interval, for display only.
    """
    # The normal interval of a coverage near 100 % can exceed it. The displayed interval is cut off there; `agrees` uses
    # the full one.
    shown = Estimate(*(min(max(each, 0.0), 1.0) for each in result.found))
    return Check(
        name=name,
        promise=f"{100 * probability:.4g} % interval contains {100 * result.due:.4g} %",
        found=f"{shown.in_percent:.2f} %",
        passed=result.agrees,
    )


def groups_check(groups: Sequence[CoverageGroup]) -> Check:
    """Check that the coverage of every group is within its bounds; state the power of the check."""
    excluded = [group for group in groups if not group.agrees]
    found = f"{len(excluded)} of {len(groups)} groups out of bounds"
    if excluded:
        worst = max(excluded, key=lambda group: abs(group.held / group.games - group.level / 100))
        found += (
            f"; worst: {series_name(worst.forecaster, worst.target)}, minute {worst.minute}, lead {worst.lead}:"
            f" {worst.held} of {worst.games} at {worst.level} %"
        )
    if groups:
        weakest = min(groups, key=lambda group: (-group.level, group.games))
        found += (
            f"; power: at nominal {weakest.level} %, a group of {weakest.games} games passes if"
            f" {100 * weakest.first / weakest.games:.1f} to {100 * weakest.last / weakest.games:.1f} % are covered, and"
            f" is excluded with {100 * POWER:g} % probability if its true coverage is"
            f" {100 * detected_rate(weakest.games, weakest.first):.1f} %"
        )
    return Check(
        name="coverage by minute, and by minute and |lead|",
        promise=(
            f"every group with at least {MIN_GAMES} games within its bounds ({100 * LEVEL:g} % for all groups together)"
        ),
        found=found,
        passed=not excluded,
    )


def seasons_check(table: Table, forecasters: Sequence[str]) -> Check:
    """Check that every coverage over all minutes of a season agrees with the expected one, at LEVEL for all together.

    Args:
        table: folds of one season each.
        forecasters: who made the forecasts.
    """
    keys = [*product(forecasters, MARGINS.values(), LEVELS)]
    corrected = 1 - (1 - LEVEL) / len(keys) / len(table.columns["fold.season"])
    found = {
        (*key, season): each
        for key in keys
        for season, each in coverage_by_season(table, key[1], key[0], key[2], probability=corrected).items()
    }
    excluded = sum(not each.agrees for each in found.values())
    (name, target, level, season), worst = max(found.items(), key=lambda each: each[1].deviation)
    return Check(
        name="coverage by season",
        promise=f"{100 * corrected:.4g} % interval of every season contains the expected coverage",
        found=(
            f"{excluded} of {len(found)} out of bounds; furthest: {series_name(name, target)}, {season} at {level} %:"
            f" {100 * worst.found.value:.2f} %, {worst.deviation:.2f} times as far off as allowed"
        ),
        passed=not excluded,
    )


def series_name(forecaster: str, target: str) -> str:
    """Name a forecaster and a target in a check."""
    return f"{forecaster.replace('_', ' ')}, {target}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether forecasts may be served.

    Attributes:
        fit: whether they may.
        reason: in a sentence or two.
        checks: all checks.
    """

    fit: bool
    reason: str
    checks: tuple[Check, ...]


def judge(figures: Figures) -> Verdict:
    """Decide whether the tested forecasts may be served.

    Requirements for each horizon: the CRPS over all minutes is significantly below persistence's on the same games,
    by a 95 % bootstrap interval over games; coverage is nominal over all minutes and in every group by minute and
    |lead|; with several seasons, in each of them. The CRPS is not significantly
    above that of the linear reference, fitted anew for each season: a chain of challengers, each a little worse than
    the one before, does not fall behind it.
    For forecasters other than "served", the CRPS must only not be significantly above persistence's, which is hard to
    beat at halftime without teams or with frozen ratings; the requirements on coverage are the same.

    Args:
        figures: those of a single season, or of a walk-forward.
    """
    table, targets = figures.table, tuple(MARGINS.values())
    forecasters, names = served(table), table.columns["fold.season"].tolist()
    checks = [_against(figures, name, "persistence", target) for name, target in product(forecasters, targets)]
    checks += [_against(figures, "served", "linear", target) for target in targets]
    # Bonferroni: if all coverages are nominal, all checks pass with probability LEVEL at least.
    corrected = 1 - (1 - LEVEL) / (len(forecasters) * len(targets) * len(LEVELS))
    for name, target, level in product(forecasters, targets, LEVELS):
        if (found := coverage(table, target, name, level, probability=corrected)) is not None:
            checks.append(coverage_check(f"coverage at {level} %, {series_name(name, target)}", found, corrected))
    checks.append(groups_check(coverage_groups(table, forecasters)))
    if len(names) > 1:
        checks.append(seasons_check(table, forecasters))
    failed = [check for check in checks if not check.passed]
    tested = f"{len(table):,} games of {', '.join(map(str, names))}"
    if failed:
        return Verdict(False, _reason(f"On {tested}", failed), tuple(checks))
    reason = (
        f"On {tested}: CRPS below persistence for both horizons, not above linear; coverage consistent with nominal in "
        f"every group{' and season' * (len(names) > 1)}."
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


def _against(figures: Figures, forecaster: str, reference: str, target: str) -> Check:
    difference = figures.get(target, forecaster, "crps", reference, compare="difference")
    better = (forecaster, reference) == ("served", "persistence")
    passed = difference is not None and (difference.upper < 0 if better else difference.lower <= 0)
    return Check(
        name=f"CRPS, {series_name(forecaster, target)}, minus {reference}",
        promise="95 % interval entirely below 0" if better else "95 % interval not entirely above 0",
        found="none" if difference is None else f"{difference:+.4f} points",
        passed=passed,
    )


def holdout_verdict(models: CalibratedModels, progress: Progress) -> VerdictRecord:
    """Return the verdict on the models of a bundle from one holdout test.

    Raises:
        DataError: if there are too few calibration games to split.
    """
    games = models.calibrate.games
    _, later = divide(games)
    earlier_models = models.without(later, progress)
    with progress.step("Evaluate on the holdout", 1) as advance:
        table = score(earlier_models, games.select(later))
        verdict = judge(Figures(table))
        advance(1)
    seasons = tuple(table.columns["fold.season"].tolist())
    return VerdictRecord(fit=verdict.fit, reason=verdict.reason, recipe=models.recipe.digest, seasons=seasons)


def divide(games: Games) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return masks of the calibration and of the test games: the last season, or the later half of a single one.

    Raises:
        DataError: if a single season has games on too few days.
    """
    last = games.season == games.season[-1]
    return hold_out_last(games.date, 0.5) if last.all() else (~last, last)


def verdict_of(backtest: Path, recipe: TrainingConfig, games: Games) -> tuple[VerdictRecord, str]:
    """Read the verdict of a walk-forward with the same recipe from the JSON file that it wrote.

    Args:
        backtest: the file.
        recipe: the recipe of the bundle.
        games: the games that the bundle is made from. A season that the walk-forward used as well must have the same
            games.

    Returns:
        The verdict, and a note on limits of its meaning for these games; empty if there are none.

    Raises:
        DataError: if the file can't be read, has another recipe, or other games of a season.
    """
    try:
        document = json.loads(backtest.read_bytes())
        record = VerdictRecord(
            fit=document["verdict"]["fit"],
            reason=document["verdict"]["reason"],
            recipe=document["recipe"],
            seasons=tuple(document["seasons"]),
        )
        tested: dict[str, str] = dict(document.get("method", {}).get("data_by_season", {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{backtest}: is not the result of a backtest: {error}") from error
    if record.recipe != recipe.digest:
        raise DataError(
            f"{backtest}: has recipe {record.recipe}, not {recipe.digest}: run a backtest with the same options"
        )
    if not tested:
        return record, f"{backtest} does not say which games it is about: whether these are the same was not checked"
    given = games.fingerprints
    if other := [season for season in given if tested.get(season, given[season]) != given[season]]:
        raise DataError(
            f"{backtest}: is about other games of season {', '.join(other)} than those in --data: run a backtest on the"
            " same data"
        )
    if not given.keys() & {f"{season}" for season in record.seasons}:
        seasons = ", ".join(map(str, record.seasons))
        return record, f"none of the seasons that {backtest} tested ({seasons}) is among the games of this bundle"
    return record, ""


class Aim(NamedTuple):
    """Limits of a figure: a score relative to a reference's, or a metric if there is none.

    Attributes:
        name: name of the check.
        target, kind, group, forecaster, metric, reference: see `Figures.get`.
        most: largest accepted value.
        below: what the upper end of the 95 % interval must be below, or equal unless it is 0; None: not checked.
        not_above: whether the interval must not lie entirely above 0.
    """

    name: str
    target: str
    kind: str
    group: str
    forecaster: str
    metric: str
    reference: str = ""
    most: float | None = None
    below: float | None = None
    not_above: bool = False

    def check(self, figures: Figures) -> Check | None:
        """Check the figure; None if the table has no such forecasts."""
        if self.forecaster not in figures.table.forecasters(self.target):
            return None
        found = figures.get(self.target, self.forecaster, self.metric, self.reference, kind=self.kind, group=self.group)
        limits = []
        if self.most is not None:
            limits.append(f"at most {self._number(self.most)}")
        if self.below is not None:
            end = f"at most {self._number(self.below)}" if self.below else "below 0"
            limits.append(f"upper end of the 95 % interval {end}")
        if self.not_above:
            limits.append("95 % interval not above 0")
        return Check(self.name, ", ".join(limits), self._shown(found), found is not None and self._holds(found))

    def _holds(self, found: Estimate) -> bool:
        return (
            (self.most is None or found.value <= self.most)
            and (self.below is None or (found.upper <= self.below if self.below else found.upper < 0))
            and not (self.not_above and found.lower > 0)
        )

    def _number(self, limit: float) -> str:
        return f"{100 * limit:+g} %" if self.reference and limit else f"{limit:g}"

    def _shown(self, found: Estimate | None) -> str:
        if found is None:
            return "too few games"
        return f"{found.in_percent:+.2f} %" if self.reference else f"{found:.4f}"


_TO_LINEAR, _TO_LOGISTIC = "relative to the linear model", "relative to the logistic regression"
_HALF, _FINAL = ("halftime", "minute", "18", "served"), ("final", ALL, ALL, "served")
_LATE, _TOTAL = ("final", "late", LATE_NAME, "served"), ("final total", "minute", "24")
_END, _LAST, _OVERTIME = (
    ("final moments", "band", band, "served") for band in ("44:00–48:00", "last minute", OVERTIME)
)
_MOMENTS = "winner at moments from 44:00"

AIMS: Final = (
    Aim(f"halftime from minute 18: CRPS {_TO_LINEAR}", *_HALF, "crps", "linear", -0.002, 0.0),
    Aim(f"final, all minutes: CRPS {_TO_LINEAR}", *_FINAL, "crps", "linear", -0.0025, 0.0),
    Aim(f"final, minutes {LATE_NAME}: CRPS {_TO_LINEAR}", *_LATE, "crps", "linear", -0.007),
    Aim(f"winner, all minutes: Brier score {_TO_LOGISTIC}", *_FINAL, "brier", "logistic", -0.0025, 0.001),
    Aim(f"winner, minutes {LATE_NAME}: Brier score {_TO_LOGISTIC}", *_LATE, "brier", "logistic", 0.0),
    Aim("winner, all minutes: expected calibration error", *_FINAL, "ece", most=0.01),
    Aim(f"halftime from minute 18: Winkler score at 95 % {_TO_LINEAR}", *_HALF, "winkler_95", "linear", 0.0),
    Aim(f"final, all minutes: Winkler score at 95 % {_TO_LINEAR}", *_FINAL, "winkler_95", "linear", -0.005),
    *(
        Aim(f"{name}, final from minute 24: CRPS relative to {label}", *_TOTAL, who, "crps", rival, below=0.0)
        for name, who, rival, label in (
            ("total points", "served", "pace", "pace × time"),
            ("total points", "served", "season_mean", "the season's mean"),
            ("total points with the line", "line", "served", "totals by ratings"),
            ("total points with the line", "line", "line_rate", "the line's rate"),
        )
    ),
    Aim(f"{_MOMENTS}: Brier score {_TO_LOGISTIC}", *_END, "brier", "logistic", below=0.0),
    Aim(f"{_MOMENTS}: log loss {_TO_LOGISTIC}", *_END, "log_loss", "logistic", below=0.0),
    Aim("winner, last minute: calibration error", *_LAST, "ece", most=0.02),
    Aim(f"winner in overtime: Brier score {_TO_LOGISTIC}", *_OVERTIME, "brier", "logistic", not_above=True),
)

OVERTIME_REACH: Final = 0.02
"""Largest accepted deviation of the coverage at 95 % in overtime, as a share."""


def aims_of(figures: Figures) -> tuple[Check, ...]:
    """Return the checks of all aims; they concern the served forecasts with known teams, and totals with the line."""
    found = (aim.check(figures) for aim in AIMS)
    return (*(check for check in found if check is not None), *_totals(figures), *_overtime(figures))


def missed(checks: Sequence[Check]) -> str:
    """Return a sentence with the number of reached aims and the names of the others."""
    names = [check.name for check in checks if not check.passed]
    reached = f"{len(checks) - len(names)} of {len(checks)} are reached"
    return f"{reached}; not reached: {'; '.join(names)}." if names else f"{reached}."


def _totals(figures: Figures) -> Iterator[Check]:
    target, kind, group = _TOTAL
    for forecaster, name in (("served", "total points"), ("line", "total points with the line")):
        for level in LEVELS if forecaster in figures.table.forecasters(target) else ():
            found = coverage_by_season(figures.table, target, forecaster, level, figures.groups(target, kind)[group])
            if found:
                yield Check(
                    name=f"{name}, final from minute {group}: coverage at {level} %, each season",
                    promise="each season's 99 % interval contains the expected coverage",
                    found=", ".join(
                        f"{season}: {100 * each.found.value:.1f}{'' if each.agrees else ' ✗'}"
                        for season, each in found.items()
                    ),
                    passed=all(each.agrees for each in found.values()),
                )


def _overtime(figures: Figures) -> Iterator[Check]:
    found = figures.get("final moments", "served", "coverage_95", kind="band", group=OVERTIME)
    if found is not None:
        yield Check(
            name="final in overtime: coverage at 95 %",
            promise=f"within {100 * OVERTIME_REACH:g} points",
            found=f"{found.in_percent:.1f} %",
            passed=abs(found.value - 0.95) <= OVERTIME_REACH,
        )
