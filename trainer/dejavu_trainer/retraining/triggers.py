"""Settings of a retrain, and the triggers that make a new model due: new games, drift, and the server's coverage.

Drift is a difference of newer games from those that a model was made from. A game is one observation: its minutes are
dependent. Only differentials are compared, which every game has; a ledger has points only where callers sent them. Each
quantity has one value per game; its means are compared by Welch's test (Biometrika 34, 1947), which assumes no equal
variances. For spreads, the value is the distance from the median of its group, which makes it the test of Brown and
Forsythe (JASA 69, 1974). Any of the tests can raise an alarm, so their p-values are corrected by the method of Holm
(Scandinavian Journal of Statistics 6, 1979).

With thousands of games an irrelevant difference is significant. So an alarm also requires an effect: a difference of
the means of at least 0.2 standard deviations, which Cohen (Statistical Power Analysis, 1988) calls small.
"""

from __future__ import annotations

import enum
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from dejavu_feed.errors import DataError
from dejavu_models.arrays import Floats
from dejavu_models.manifest import Manifest
from dejavu_models.ratings import MAX_RATINGS_DAYS
from dejavu_models.types import Horizon
from dejavu_models.uncertainty.adaptive import NORMAL, radius_of_alpha
from dejavu_trainer.data.games import Games, ranges
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


LEVEL: Final = 0.01
"""Maximum probability of any alarm in one comparison if nothing has changed; over comparisons it adds up
(docs/training.md)."""

SMALLEST_EFFECT: Final = 0.2
"""Minimum difference of the means for an alarm, in standard deviations."""

MIN_GAMES: Final = 100
"""Minimum number of games for a coverage to be checked, and on each side of a comparison of games."""


def quantities(games: Games) -> dict[str, Floats]:
    """Return the compared quantities of n games, (n,) each, in points or minutes.

    Scoring is the number of points that moved the differential, over all minutes (for each minute, the fewest that
    explain the change), pace the number of minutes in which it changes, home edge the final differential, and a spread
    the distance of a differential from its median.
    """
    differentials = games.differentials.astype(np.float64)
    minutes = np.diff(differentials, axis=1, prepend=0.0)
    halftime, final = differentials[:, Horizon.HALFTIME.minutes - 1], games.final.astype(np.float64)
    return {
        "scoring": np.abs(minutes).sum(axis=1),
        "pace": (minutes != 0).sum(axis=1).astype(np.float64),
        "home edge": final,
        "spread at the half": np.abs(halftime - np.median(halftime)),
        "spread at the end": np.abs(final - np.median(final)),
    }


@dataclass(frozen=True, slots=True)
class Drift:
    """Difference of a quantity between older and newer games.

    Attributes:
        quantity: one of `quantities`.
        before, after: its means.
        effect: their difference, after − before, in standard deviations of a game (root of the mean variance).
        p_value: of Welch's test, corrected for the number of quantities.
        alarm: whether it is both significant and not negligible.
    """

    quantity: str
    before: float
    after: float
    effect: float
    p_value: float
    alarm: bool

    def __str__(self) -> str:
        return (
            f"{self.quantity} {self.before:.2f} → {self.after:.2f} a game ({self.effect:+.2f} standard deviations,"
            f" p = {self.p_value:.2g})"
        )


def drifts(before: Games, after: Games) -> list[Drift]:
    """Compare newer games with older ones; return an empty list if one side has fewer than MIN_GAMES.

    Returns:
        One element for each of `quantities`, in their order.
    """
    from scipy.stats import ttest_ind

    if min(len(before), len(after)) < MIN_GAMES:
        return []
    names = [*quantities(before)]
    old, new = (np.stack([*quantities(games).values()]) for games in (before, after))
    means = old.mean(axis=1), new.mean(axis=1)
    deviations = np.sqrt((old.var(axis=1, ddof=1) + new.var(axis=1, ddof=1)) / 2)
    effects = np.divide(means[1] - means[0], deviations, out=np.zeros(len(names)), where=deviations > 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the precision for nearly equal values
        p_values = ttest_ind(old, new, axis=1, equal_var=False).pvalue
    corrected = holm(np.nan_to_num(p_values, nan=1.0))  # without any variance, equal means have none
    alarms = (corrected < LEVEL) & (np.abs(effects) >= SMALLEST_EFFECT)
    columns = (names, *(each.tolist() for each in (*means, effects, corrected, alarms)))
    return [Drift(*values) for values in zip(*columns, strict=True)]


def holm(p_values: Floats) -> Floats:
    """Correct p-values for multiple tests.

    If all null hypotheses hold, the smallest corrected value is at most x with a probability of at most x.
    """
    order = np.argsort(p_values, kind="stable")
    raised = p_values[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return corrected


class Basis(BaseModel):
    """The games that a model was made from, as far as the triggers need them.

    Attributes:
        model_version: version of the model.
        seasons: seasons that it knows, by the year in which they end.
        calibrated: the seasons among these that its intervals were calibrated on.
        last_day: local date of the newest game that it was made from.
        unfit_by: how the model was made, if it was found unfit; empty if it was published.
    """

    model_config = ConfigDict(frozen=True)

    model_version: str
    seasons: frozenset[int]
    calibrated: frozenset[int]
    last_day: date
    unfit_by: str = ""

    @classmethod
    def of_manifest(cls, manifest: Manifest, unfit_by: str = "") -> Self:
        """Return the basis for a model, from the manifest of its bundle."""
        calibrated = frozenset(manifest.calibrate.seasons)
        return cls(
            model_version=manifest.version,
            seasons=calibrated | set(manifest.train.seasons),
            calibrated=calibrated,
            last_day=manifest.calibrate.last_date,
            unfit_by=unfit_by,
        )

    def known(self, games: Games) -> Games:
        """Return the given games that its intervals were calibrated on."""
        return games.select(
            np.isin(games.season, sorted(self.calibrated)) & (games.date <= np.datetime64(self.last_day))
        )

    def newer(self, games: Games) -> Games:
        """Return the given games that are later than its own."""
        return games.select(games.date > np.datetime64(self.last_day))


OVER_AFTER: Final = timedelta(days=MAX_RATINGS_DAYS)
"""Time after its newest game from which on a season counts as over."""


class TriggerKind(enum.Enum):
    """Kind of trigger that makes a new model due."""

    NEW_SEASON = "new season"
    NEW_GAMES = "new games"
    COVERAGE = "coverage"
    DRIFT = "drift"
    ASKED_FOR = "asked for"


@dataclass(frozen=True, slots=True)
class Trigger:
    """A reason for a new model.

    Attributes:
        kind: kind of the trigger.
        reason: the kind and its subject, for the lineage; equal for equal games.
        details: human-readable figures.
    """

    kind: TriggerKind
    reason: str
    details: str


def standing_triggers(
    games: Games,
    basis: Basis,
    scorecards: Mapping[str, Mapping[str, Any]],
    settings: RetrainSettings,
    today: date,
) -> list[Trigger]:
    """Return the met triggers, in the order of TriggerKind.

    Args:
        games: all games read.
        basis: the model that serves, or a later challenger.
        scorecards: scorecards of the model that serves, by horizon, in protobuf's JSON; empty if they are not known.
        settings: bounds.
        today: today's date, which decides whether a season is over.
    """
    newer, found = basis.newer(games), list[Trigger]()
    if seasons := _new_seasons(games, basis, settings, today):
        added, what = len(basis.newer(games.of_seasons(seasons))), ranges(seasons)
        details = f"{added:,} games of {what} that no model knows"
        found.append(Trigger(TriggerKind.NEW_SEASON, f"new season {what}", details))
    if len(newer) >= settings.new_games:
        found.append(Trigger(TriggerKind.NEW_GAMES, "new games", f"{len(newer):,} games after {basis.last_day}"))
    if len(newer) >= settings.pause_games:
        if missed := missed_coverages(scorecards, settings.coverage_tolerance):
            found.append(Trigger(TriggerKind.COVERAGE, "coverage", "; ".join(missed)))
        if alarms := [each for each in drifts(basis.known(games), newer) if each.alarm]:
            reason = f"drift of {', '.join(each.quantity for each in alarms)}"
            found.append(Trigger(TriggerKind.DRIFT, reason, "; ".join(map(str, alarms))))
    if settings.reason:
        found.append(Trigger(TriggerKind.ASKED_FOR, settings.reason, settings.reason))
    return found


def _new_seasons(games: Games, basis: Basis, settings: RetrainSettings, today: date) -> list[int]:
    """Find seasons that are over, and of which the model knows no games or only the first ones."""
    seasons, newest_known = list[int](), max(basis.seasons, default=0)
    for season in np.unique(games.season).tolist():
        played = games.of_seasons([season])
        over = bool(played.date[-1] < np.datetime64(today - OVER_AFTER))
        unknown = season not in basis.seasons or len(basis.newer(played)) >= settings.pause_games
        if over and unknown and season >= newest_known and len(played) >= settings.season_games:
            seasons.append(season)
    return seasons


def missed_coverages(scorecards: Mapping[str, Mapping[str, Any]], tolerance: float) -> list[str]:
    """Return the coverages of scorecards that are too low or too high, in words.

    The 95 % interval of such a coverage lies more than a tolerance below the nominal coverage, or above it plus what
    `excess_of_whole_ends` adds.

    Args:
        scorecards: scorecards by horizon, in protobuf's JSON, which leaves out zeros.
        tolerance: tolerated deviation of a coverage.
    """
    missed = []
    for horizon, scorecard in scorecards.items():
        for each in scorecard.get("coverage", ()):
            alpha, coverage, lower, upper, width = (
                float(each.get(name, 0)) for name in ("alpha", "coverage", "lower", "upper", "meanWidth")
            )
            nominal, games = 1 - alpha, int(each.get("games", 0))
            is_off = upper < nominal - tolerance or lower > nominal + excess_of_whole_ends(alpha, width) + tolerance
            if is_off and games >= MIN_GAMES:
                held = f"{100 * coverage:.1f} % [{100 * lower:.1f}, {100 * upper:.1f}]"
                missed.append(f"{horizon}: {held} of the intervals at {100 * nominal:.4g} % held in {games:,} games")
    return missed


def excess_of_whole_ends(alpha: float, mean_width: float) -> float:
    """Return the expected excess coverage of a calibrated model, since intervals include their ends, whole numbers.

    An end is the whole number at which the cumulative probability reaches a level. So, on each side, the interval
    has on average half of the probability of its end too much. This probability is approximated by that of a normal
    distribution whose intervals have the same width.

    Args:
        alpha: nominal miscoverage.
        mean_width: mean width of the intervals, in points; 0 if it is not known.
    """
    if not mean_width or not 0 < alpha < 1:
        return 0.0
    score = radius_of_alpha(alpha)
    return 2 * score * NORMAL.pdf(score) / mean_width
