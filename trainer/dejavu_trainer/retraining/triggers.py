"""Triggers that make a new model due, the basis that games are compared with, and the coverage of the server."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from dejavu_feed.files.plays_format import season_window
from dejavu_models.manifest import Manifest
from dejavu_models.ratings import MAX_RATINGS_DAYS
from dejavu_models.types import HORIZONS
from dejavu_trainer.client import run_client
from dejavu_trainer.data.games import Games, ranges
from dejavu_trainer.retraining.drift import drifts


@dataclass(frozen=True, slots=True)
class Basis:
    """The games that a model was made from, as far as the triggers need them.

    Attributes:
        model_version: version of the model; empty if there is none.
        seasons: seasons that it knows, by the year in which they end.
        calibrated: the seasons among these that its intervals were calibrated on.
        last_day: local date of the newest game that it was made from.
    """

    model_version: str
    seasons: frozenset[int]
    calibrated: frozenset[int]
    last_day: date

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> Basis:
        """Return the basis for a model, from the manifest of its bundle."""
        calibrated = frozenset(manifest.calibrate.seasons)
        return cls(manifest.version, calibrated | set(manifest.train.seasons), calibrated, manifest.calibrate.last_date)

    @classmethod
    def of_server_model(cls, model: dict[str, Any]) -> Basis:
        """Return the basis for a model, from its description by `dejavu models list --json`.

        The date of its newest game is not known; it is replaced by the last day of its newest season.
        """
        calibrated = frozenset(int(season) for season in model.get("calibrationSeasons", ()))
        seasons = calibrated | {int(season) for season in model.get("trainSeasons", ())}
        last_day = season_window(max(seasons))[1] if seasons else date.min
        return cls(str(model["version"]), seasons, calibrated, last_day)

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> Basis:
        """Return the basis that `document` described."""
        return cls(
            document["model_version"],
            frozenset(document["seasons"]),
            frozenset(document["calibrated"]),
            date.fromisoformat(document["last_day"]),
        )

    def document(self) -> dict[str, Any]:
        """Return the basis as JSON."""
        return {
            "model_version": self.model_version,
            "seasons": sorted(self.seasons),
            "calibrated": sorted(self.calibrated),
            "last_day": self.last_day.isoformat(),
        }

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


@dataclass(frozen=True, slots=True)
class CoverageFigure:
    """Coverage of the intervals at one level.

    Attributes:
        horizon: name of the horizon.
        alpha: nominal miscoverage.
        games: number of settled games.
        coverage: share of intervals that held.
        lower, upper: its 95 % interval.
        mean_width: mean width of the intervals, in points; 0 if it is not known.
    """

    horizon: str
    alpha: float
    games: int
    coverage: float
    lower: float
    upper: float
    mean_width: float = 0.0

    @property
    def of_whole_ends(self) -> float:
        """Expected excess coverage of a calibrated model, since intervals include their ends, which are whole numbers.

        An end is the whole number at which the cumulative probability reaches a level. So, on each side, the interval
        has on average half of the probability of its end too much. This probability is approximated by that of a normal
        distribution whose intervals have the same width.
        """
        if not self.mean_width or not 0 < self.alpha < 1:
            return 0.0
        normal = NormalDist()
        score = normal.inv_cdf(1 - self.alpha / 2)
        return 2 * score * normal.pdf(score) / self.mean_width

    def misses(self, tolerance: float) -> bool:
        """Return whether the coverage is too low or too high.

        Its interval then lies more than a tolerance below the nominal coverage, or above it plus `of_whole_ends`.
        """
        nominal = 1 - self.alpha
        missed = self.upper < nominal - tolerance or self.lower > nominal + self.of_whole_ends + tolerance
        return self.games >= MIN_GAMES and missed

    def __str__(self) -> str:
        return (
            f"{self.horizon}: {100 * self.coverage:.1f} % [{100 * self.lower:.1f}, {100 * self.upper:.1f}] of the"
            f" intervals at {100 * (1 - self.alpha):.4g} % held in {self.games:,} games"
        )


def server_coverages(server: str, model_version: str) -> list[CoverageFigure]:
    """Return the coverages of a model on the settled forecasts of a server, of both horizons.

    Raises:
        CallFailed: if the server does not answer.
    """
    found = list[CoverageFigure]()
    for horizon in HORIZONS:
        scorecard = run_client("scorecard", "--horizon", horizon.value, "--model", model_version, server=server)
        found += _figures(horizon.value, scorecard)
    return found


def _figures(horizon: str, scorecard: dict[str, Any]) -> Iterator[CoverageFigure]:
    """Yield the coverages of a scorecard in protobuf's JSON, which leaves out zeros."""
    for each in scorecard.get("coverage", ()):
        yield CoverageFigure(
            horizon=horizon,
            alpha=float(each.get("alpha", 0)),
            games=int(each.get("games", 0)),
            coverage=float(each.get("coverage", 0)),
            lower=float(each.get("lower", 0)),
            upper=float(each.get("upper", 0)),
            mean_width=float(each.get("meanWidth", each.get("mean_width", 0))),
        )


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
