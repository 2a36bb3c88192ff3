"""Triggers that make a new model due."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

from dejavu_models.ratings import MAX_RATINGS_DAYS
from dejavu_trainer.data.games import Games, ranges
from dejavu_trainer.retraining.basis import Basis
from dejavu_trainer.retraining.coverage import CoverageFigure
from dejavu_trainer.retraining.drift import drifts

NEW_GAMES: Final = 400
"""New games after which a new model is due: about a third of a season."""

SEASON_GAMES: Final = 300
"""Minimum number of games of a season that makes a new model due when it is over."""

PAUSE_GAMES: Final = 100
"""Minimum number of newer games for coverage, drift or a partly known season to make a new model due."""

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


@dataclass(frozen=True, slots=True)
class TriggerSettings:
    """Bounds of the triggers.

    Attributes:
        new_games: new games that make a new model due.
        season_games: minimum number of games of a new season.
        pause_games: minimum number of new games for coverage and drift to be checked, and for a partly known season to
            count as new.
        coverage_tolerance: tolerated deviation of a coverage; see `CoverageFigure.misses`.
    """

    new_games: int = NEW_GAMES
    season_games: int = SEASON_GAMES
    pause_games: int = PAUSE_GAMES
    coverage_tolerance: float = 0.02


def standing_triggers(
    games: Games,
    basis: Basis,
    coverages: Sequence[CoverageFigure],
    settings: TriggerSettings,
    today: date,
) -> list[Trigger]:
    """Return the met triggers, in the order of TriggerKind.

    Args:
        games: all games read.
        basis: the model that serves, or a later challenger.
        coverages: coverages of the model that serves, on settled forecasts; empty if they are not known.
        settings: bounds.
        today: today's date, which decides whether a season is over.
    """
    newer = basis.newer(games)
    found = [*_new_season(games, basis, settings, today)]
    if len(newer) >= settings.new_games:
        found.append(Trigger(TriggerKind.NEW_GAMES, "new games", f"{len(newer):,} games after {basis.last_day}"))
    if len(newer) < settings.pause_games:
        return found
    if missed := [each for each in coverages if each.misses(settings.coverage_tolerance)]:
        found.append(Trigger(TriggerKind.COVERAGE, "coverage", "; ".join(map(str, missed))))
    if alarms := [each for each in drifts(basis.known(games), newer) if each.alarm]:
        reason = f"drift of {', '.join(each.quantity for each in alarms)}"
        found.append(Trigger(TriggerKind.DRIFT, reason, "; ".join(map(str, alarms))))
    return found


def _new_season(games: Games, basis: Basis, settings: TriggerSettings, today: date) -> list[Trigger]:
    """Find seasons that are over, and of which the model knows no games or only the first ones."""
    seasons, newest_known = [], max(basis.seasons, default=0)
    for season in np.unique(games.season).tolist():
        played = games.of_seasons([season])
        over = bool(played.date[-1] < np.datetime64(today - OVER_AFTER))
        unknown = season not in basis.seasons or len(basis.newer(played)) >= settings.pause_games
        if over and unknown and season >= newest_known and len(played) >= settings.season_games:
            seasons.append(season)
    if not seasons:
        return []
    added = len(basis.newer(games.of_seasons(seasons)))
    what = ranges(seasons)
    return [Trigger(TriggerKind.NEW_SEASON, f"new season {what}", f"{added:,} games of {what} that no model knows")]
