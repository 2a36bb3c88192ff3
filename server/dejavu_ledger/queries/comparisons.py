"""Pairs the forecasts that two models made of the same games and moments, with the current outcomes.

A model's forecast is its own, or its shadow of another model's. Two are a pair if they are a forecast and its shadow,
or shadows of the same one. They count as on a scorecard; a shadow counts if the shadowed forecast does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.queries import scorecards
from dejavu_ledger.queries.filters import all_of
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_ledger.scores import packed
from dejavu_ledger.scores.packed import SHADOWS, Columns, Game, Texts
from dejavu_models.comparison.gate import PERSISTENCE
from dejavu_models.comparison.scores import PairedForecasts
from dejavu_models.metrics import cramer_distance, leader_probability
from dejavu_models.scorecard.settled import Exclusion
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon

_LEVELS: Final = len(DISTRIBUTION_LEVELS)

_SCORES: Final = ("crps", "probability", "covered", "width")


class PairFilter(NamedTuple):
    """Selects pairs of forecasts.

    Attributes:
        model_version: the model.
        against_version: the other model, or PERSISTENCE.
        horizon: the horizon.
        replays: include games of replays and simulated seasons.
        since: sequence after which forecasts, or those that shadows accompany, count.
        scope: further conditions that the forecasts meet, whose horizon, replays and model are ignored; None: none.
    """

    model_version: str
    against_version: str
    horizon: Horizon = Horizon.HALFTIME
    replays: bool = False
    since: int = 0
    scope: ScoreFilter | None = None


def pairs(connection: Connection, filter_: PairFilter) -> PairedForecasts:
    """Return the pairs that match a filter, in the order in which their games were settled.

    A game is numbered by the sequence of its outcome's first report. Forecasts without a
    distribution, and so without a CRPS, are left out.

    Raises:
        LedgerCorrupt: if a row cannot be read back.
    """
    return pairs_of(connection, [filter_.model_version], filter_)[filter_.model_version]


def pairs_of(connection: Connection, versions: Sequence[str], filter_: PairFilter) -> dict[str, PairedForecasts]:
    """Return the pairs of several models with the other model of a filter, by model; see `pairs`.

    Args:
        connection: a read connection.
        versions: the models; that of the filter is ignored.
        filter_: the filter.
    """
    scored = _Scored.read(connection, filter_)
    if filter_.against_version == PERSISTENCE:
        return {version: scored.beside_persistence(scored.of(version)) for version in versions}
    other = scored.of(filter_.against_version)
    return {version: scored.paired(scored.of(version), other) for version in versions}


class _Scored(NamedTuple):
    """Forecasts with a current outcome, and the shadows of those that count.

    Attributes:
        forecasts: columns of n forecasts, in order of their outcomes.
        shadows: columns of m shadows; their `forecast` is an index of the forecasts.
        quantiles, of_shadows: (n, levels) and (m, levels), in points.
        counted: (n,), whether a forecast matches the filter and counts.
        models: texts of the models.
    """

    forecasts: Columns
    shadows: Columns
    quantiles: NDArray[np.float32]
    of_shadows: NDArray[np.float32]
    counted: NDArray[np.bool_]
    models: Texts

    @classmethod
    def read(cls, connection: Connection, filter_: PairFilter) -> _Scored:
        """Read those of a filter."""
        scope = replace(
            filter_.scope or ScoreFilter(), horizon=filter_.horizon, replays=filter_.replays, model_version=""
        )
        conditions = ["outcome IS NOT NULL", *scorecards.conditions_of_games(scope)]
        query = f"SELECT first_report, texts, forecasts, shadows, quantiles FROM scores WHERE {all_of(conditions)}"  # noqa: S608
        rows = sorted(sql.rows(connection, query, **scope.parameters()))
        models, callers = Texts(), Texts()
        with store.decoding():
            games = [Game(json.loads(texts), forecasts, b"") for _, texts, forecasts, *_ in rows]
            forecasts = packed.columns(games, models, callers)
            shadows, quantiles, of_shadows = [np.empty(0, dtype=SHADOWS)], [np.empty((0, _LEVELS), "<f4")], []
            start = 0
            for game, (*_, text, levels) in zip(games, rows, strict=True):
                own = np.frombuffer(text, dtype=SHADOWS).copy()
                number = len(game.forecasts) // packed.FORECASTS.itemsize
                own["model"] = models.codes(game.texts["models"])[own["model"]]
                own["forecast"] += start
                start += number
                of_game = np.frombuffer(levels, dtype="<f4").reshape(number + len(own), _LEVELS)
                shadows.append(own)
                quantiles.append(of_game[:number])
                of_shadows.append(of_game[number:])
        joined = np.concatenate(shadows)
        counted = scorecards.matching(forecasts, scope, models, callers)
        counted &= (scorecards.exclusions(forecasts, scope) == Exclusion.NONE) & (forecasts["sequence"] > filter_.since)
        return cls(
            forecasts,
            {name: joined[name] for name in SHADOWS.names or ()},
            np.concatenate(quantiles),
            np.concatenate([quantiles[0], *of_shadows]),
            counted,
            models,
        )

    def of(self, version: str) -> Columns:
        """Return the forecasts of a model that count: its own, and its shadows."""
        code = self.models.find(version)
        own = np.flatnonzero(self.counted & (self.forecasts["model"] == code))
        beside = np.flatnonzero(self.counted[self.shadows["forecast"]] & (self.shadows["model"] == code))
        found: dict[str, NDArray[Any]] = {
            name: np.concatenate((self.forecasts[name][own], self.shadows[name][beside])) for name in _SCORES
        }
        found["quantiles"] = np.concatenate((self.quantiles[own], self.of_shadows[beside]))
        found["forecast"] = np.concatenate((own, self.shadows["forecast"][beside]))
        order = np.argsort(found["forecast"])
        return {name: column[order] for name, column in found.items()}

    def beside_persistence(self, model: Columns) -> PairedForecasts:
        """Return the pairs of a model with persistence: with the last known lead as a certain forecast."""
        lead, differential = (self.forecasts[name][model["forecast"]] for name in ("lead", "differential"))
        other = {
            "crps": np.abs(lead - differential),
            "probability": leader_probability(lead),
            "quantiles": np.repeat(lead[:, None], _LEVELS, axis=1),
        }
        return self._pairs(model, other)

    def paired(self, model: Columns, other: Columns) -> PairedForecasts:
        """Return the pairs of two models."""
        _, left, right = np.intersect1d(model["forecast"], other["forecast"], assume_unique=True, return_indices=True)
        chosen = ({name: column[at] for name, column in of.items()} for of, at in ((model, left), (other, right)))
        return self._pairs(*chosen)

    def _pairs(self, model: Columns, other: Columns) -> PairedForecasts:
        known = ~(np.isnan(model["crps"]) | np.isnan(other["crps"]))
        model, other = ({name: column[known] for name, column in of.items()} for of in (model, other))
        forecasts = {name: self.forecasts[name][model["forecast"]] for name in ("game", "minute", "alpha")}
        led = self.forecasts["differential"][model["forecast"]] > 0.0
        return PairedForecasts(
            **forecasts,
            **{name: model[name] for name in ("crps", "covered", "width")},
            against_crps=other["crps"],
            brier=np.square(model["probability"] - led),
            against_brier=np.square(other["probability"] - led),
            crps_divergence=cramer_distance(model["quantiles"], other["quantiles"]),
            brier_divergence=np.square(model["probability"] - other["probability"]),
        )
