"""Triggers that make a new model due, the basis that games are compared with, and the coverage of the server."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import NormalDist
from typing import Any, Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from dejavu_models.manifest import Manifest
from dejavu_models.ratings import MAX_RATINGS_DAYS
from dejavu_trainer.data.games import Games, ranges
from dejavu_trainer.retraining.drift import drifts
from dejavu_trainer.retraining.settings import RetrainSettings


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


MIN_GAMES: Final = 100
"""Minimum number of games for a coverage to be checked."""

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
    normal = NormalDist()
    score = normal.inv_cdf(1 - alpha / 2)
    return 2 * score * normal.pdf(score) / mean_width
