"""Basis of a retrain: the serving model, or the last challenger if its games are newer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from dejavu_feed.files.plays_format import season_window
from dejavu_models.manifest import Manifest
from dejavu_trainer.data.games import Games


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
