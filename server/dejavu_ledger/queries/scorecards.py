"""Selects the settled forecasts of a scorecard, the games that nobody settled, and the pairs of two models' forecasts.

The scores are read from the rows of `scores`, one a game. `KnownScores` keeps those of a process in memory, some 220
bytes a forecast, and reads only games that were settled since; it also keeps which games nobody settled.

A model's forecast is its own, or its shadow of another model's. Two are a pair if they are a forecast and its shadow,
or shadows of the same one. They count as on a scorecard; a shadow counts if the shadowed forecast does.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_common.clock import microseconds
from dejavu_ledger import settling
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.queries.pages import CommonFilter
from dejavu_ledger.settling import SHADOWS, TEAM_CODES, Columns, PackedGame, Texts
from dejavu_models.comparison.gate import PERSISTENCE
from dejavu_models.comparison.scores import PairedForecasts
from dejavu_models.metrics import cramer_distance, leader_probability
from dejavu_models.scorecard.settled import Exclusion, SettledForecasts
from dejavu_models.types import DISTRIBUTION_LEVELS, MAX_SLOTS, Horizon

MAX_KEPT: Final = 500_000
"""Maximum number of forecasts of a horizon that are kept in memory: 110 MB. More are read for each scorecard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFilter(CommonFilter):
    """Selects settled forecasts of one horizon.

    Attributes:
        min_minutes, max_minutes: bounds of the minute of play.
        recorded_by: identity of the caller who recorded them; empty: the owner of each game.
    """

    horizon: Horizon = Horizon.HALFTIME
    min_minutes: int | None = None
    max_minutes: int | None = None
    recorded_by: str = ""


class SettledByModel(NamedTuple):
    """Settled forecasts with their model versions, in order of their outcomes; includes forecasts that do not count.

    Attributes:
        forecasts: the settled forecasts.
        model: (n,), index of each forecast's model version in `models`.
        models: the model versions, and others.
    """

    forecasts: SettledForecasts
    model: NDArray[np.int32]
    models: list[str]


class ScoresPosition(NamedTuple):
    """Identity of a scorecard's inputs: equal positions on one evening mean equal inputs.

    A scorecard changes only with another outcome, with the withdrawal of one, and at the end of an evening, when its
    games start to count as unsettled.

    Attributes:
        ledger: the identity of the ledger.
        outcome: sequence of the newest outcome; 0 if there is none.
    """

    ledger: store.Identity
    outcome: int


def position(connection: Connection) -> ScoresPosition:
    """Return the position of the ledger."""
    with sql.snapshot(connection):
        return _position(connection)


def _position(connection: Connection) -> ScoresPosition:
    newest = sql.value(connection, "SELECT MAX(sequence) FROM outcomes")
    return ScoresPosition(store.identity(connection), newest or 0)


class _Table(NamedTuple):
    """Settled forecasts of a horizon in order of their outcomes, as of a position; never changed.

    Attributes:
        models, callers: texts of the columns model and caller; shared by all tables of a `KnownScores`.
    """

    position: ScoresPosition
    columns: Columns
    models: Texts
    callers: Texts


class KnownScores:
    """Settled forecasts of both horizons, as far as they were read, and the games that are not settled."""

    def __init__(self) -> None:
        self._kept: dict[Horizon, _Table] = {}
        self._open: dict[Horizon, tuple[ScoresPosition, datetime, list[str]]] = {}
        self._renewing = threading.Lock()

    def settled(self, connection: Connection, filter_: ScoreFilter) -> SettledByModel:
        """Return the result of `settled`, from memory except for what was settled since.

        Args:
            connection: a read connection.
            filter_: the filter.

        Raises:
            LedgerCorrupt: if a row cannot be read back.
        """
        if filter_.game_id:
            return settled(connection, filter_)
        with self._renewing:
            table = self._kept.get(filter_.horizon)
            if table is None or table.position != position(connection):
                table = _renewed(connection, filter_.horizon, table)
                if len(table.columns["game"]) <= MAX_KEPT:
                    self._kept[filter_.horizon] = table
        return _selected(table, filter_)

    def unsettled(self, connection: Connection, filter_: ScoreFilter, before: datetime) -> list[UnsettledGame]:
        """Return the games with matching forecasts made before a time, and without a report.

        A bad game that is never reported would otherwise be on no scorecard. A game whose outcome was withdrawn is not
        among them, unless that was before its first forecast; nor is one whose forecasts are all late.

        Args:
            connection: a read connection.
            filter_: the filter.
            before: aware, UTC: when the evening began. Games are found anew for another one, and after an outcome.
        """
        if filter_.game_id:
            return _unsettled(connection, filter_, before, [filter_.game_id])
        known = position(connection), before
        *of, games = self._open.get(filter_.horizon, (None, []))
        if (*of,) != known:
            games = _games_without_report(connection, filter_.horizon)
            self._open[filter_.horizon] = (*known, games)
        return _unsettled(connection, filter_, before, games)


def settled(connection: Connection, filter_: ScoreFilter) -> SettledByModel:
    """Return the settled forecasts that match a filter, in order of their outcomes.

    Raises:
        LedgerCorrupt: if a row cannot be read back.
    """
    texts = Texts(), Texts()
    with sql.snapshot(connection):
        columns = _read(connection, _conditions_of_games(filter_), filter_.parameters(), *texts)
        return _selected(_Table(_position(connection), columns, *texts), filter_)


_CONDITIONS_OF_GAMES: Final = {
    "horizon": "horizon = :horizon",
    "game_id": "game_id = :game_id",
    "first_day": "last_day >= :first_day",
    "last_day": "first_day <= :last_day",
}


def _conditions_of_games(filter_: ScoreFilter) -> list[str]:
    """Return conditions of the rows of `scores` that may have forecasts that match a filter."""
    given = filter_.parameters()
    conditions = [condition for name, condition in _CONDITIONS_OF_GAMES.items() if name in given]
    return [*conditions, "replay = FALSE"] if filter_.real_only else conditions


def _read(
    connection: Connection, conditions: Sequence[str], values: Mapping[str, object], models: Texts, callers: Texts
) -> Columns:
    where = " AND ".join(conditions)
    query = f"SELECT first_report, texts, forecasts, markets FROM scores WHERE {where}"  # noqa: S608
    rows = sorted(sql.rows(connection, query, **values))
    with store.decoding():
        return settling.joined_columns(
            [PackedGame(json.loads(texts), *arrays) for _, texts, *arrays in rows], models, callers
        )


def _renewed(connection: Connection, horizon: Horizon, table: _Table | None) -> _Table:
    """Return the current table of a horizon, given an earlier one."""
    with sql.snapshot(connection):
        now = _position(connection)
        if table is None or table.position.ledger != now.ledger or table.position.outcome > now.outcome:
            texts = Texts(), Texts()
            table = _Table(ScoresPosition(now.ledger, 0), settling.joined_columns([], *texts), *texts)
        values = {"horizon": horizon.value, "last": table.position.outcome}
        new = _read(connection, ["horizon = :horizon", "sequence > :last"], values, table.models, table.callers)
    stay = ~np.isin(table.columns["game"], new["game"])  # what was settled before stays in the row of its game
    columns = {name: np.concatenate((column[stay], new[name])) for name, column in table.columns.items()}
    order = np.argsort(columns["game"], kind="stable")
    return table._replace(position=now, columns={name: column[order] for name, column in columns.items()})


def _matching(columns: Columns, filter_: ScoreFilter, models: Texts, callers: Texts) -> NDArray[np.bool_]:
    """Return which forecasts in columns match a filter, except for its horizon."""
    chosen: NDArray[np.bool_] = np.ones(len(columns["game"]), dtype=np.bool_)
    if filter_.first_day is not None:
        chosen &= columns["day"] >= filter_.first_day
    if filter_.last_day is not None:
        chosen &= columns["day"] <= filter_.last_day
    if filter_.team:
        team = TEAM_CODES[filter_.team]
        chosen &= (columns["home"] == team) | (columns["away"] == team)
    if filter_.min_confidence is not None:
        chosen &= columns["confidence"] >= filter_.min_confidence
    if filter_.model_version:
        chosen &= columns["model"] == models.find(filter_.model_version)
    if filter_.recorded_by:
        chosen &= columns["caller"] == callers.find(filter_.recorded_by)
    minute = np.minimum(columns["minute"], MAX_SLOTS)  # overtime follows minute 47
    if filter_.min_minutes is not None:
        chosen &= minute >= filter_.min_minutes
    if filter_.max_minutes is not None:
        chosen &= minute <= filter_.max_minutes
    if filter_.real_only:
        chosen &= ~columns["replay"]
    return chosen


def _exclusions(columns: Columns, filter_: ScoreFilter) -> NDArray[np.int64]:
    """Return why each forecast in columns does not count; those of others than the owner do on their own cards only."""
    if filter_.recorded_by:
        return columns["exclusion"]
    return np.where(columns["owned"], columns["exclusion"], np.int64(Exclusion.OTHERS))


def _selected(table: _Table, filter_: ScoreFilter) -> SettledByModel:
    # The few rows of a week are taken from a season's faster by their indexes than by a mask.
    chosen = np.flatnonzero(_matching(table.columns, filter_, table.models, table.callers))
    columns = {name: column[chosen] for name, column in table.columns.items()}
    columns["exclusion"] = _exclusions(columns, filter_)
    return SettledByModel(settling.settled_forecasts(columns), columns["model"], table.models.all())


class UnsettledGame(NamedTuple):
    """A game without any report of its outcome at a horizon, and a model version that forecast it in time."""

    game_id: str
    model_version: str


def _unsettled(
    connection: Connection, filter_: ScoreFilter, before: datetime, games: Sequence[str]
) -> list[UnsettledGame]:
    owned = [] if filter_.recorded_by else ["f.owned = TRUE"]
    query = f"""
        SELECT DISTINCT f.game_id, f.model_version FROM forecasts f
        WHERE f.game_id IN :games AND {_WITHOUT_REPORT.format("f")}
            AND f.late = '' AND f.hindsight IS NULL AND f.generated_us < :before_us
            AND {" AND ".join([*filter_.conditions(), *owned])}"""  # noqa: S608
    found = sql.rows(connection, query, **filter_.parameters(), before_us=microseconds(before), games=games)
    return [UnsettledGame(*row) for row in found]


def _games_without_report(connection: Connection, horizon: Horizon) -> list[str]:
    """Return the games with forecasts, and without a report at a horizon that stands or was withdrawn after them."""
    return [game_id for (game_id,) in sql.rows(connection, _GAMES_WITHOUT_REPORT, horizon=horizon.value)]


_WITHOUT_REPORT: Final = """
    NOT EXISTS (SELECT 1 FROM scores s WHERE s.game_id = {}.game_id AND s.horizon = :horizon AND s.void = FALSE)"""

_GAMES_WITHOUT_REPORT: Final = f"""
    WITH RECURSIVE games AS (
        SELECT MIN(game_id) AS game_id FROM forecasts
        UNION ALL
        SELECT (SELECT MIN(later.game_id) FROM forecasts later WHERE later.game_id > games.game_id)
        FROM games WHERE games.game_id IS NOT NULL)
    SELECT game_id FROM games WHERE game_id IS NOT NULL AND {_WITHOUT_REPORT.format("games")}"""  # noqa: S608
"""Each game is found in the index from the one before: there are hundreds of forecasts for each."""


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
        where = " AND ".join(["outcome IS NOT NULL", *_conditions_of_games(scope)])
        query = f"SELECT first_report, texts, forecasts, shadows, quantiles FROM scores WHERE {where}"  # noqa: S608
        rows = sorted(sql.rows(connection, query, **scope.parameters()))
        models, callers = Texts(), Texts()
        with store.decoding():
            games = [PackedGame(json.loads(texts), forecasts, b"") for _, texts, forecasts, *_ in rows]
            forecasts = settling.joined_columns(games, models, callers)
            shadows, quantiles, of_shadows = [np.empty(0, dtype=SHADOWS)], [np.empty((0, _LEVELS), "<f4")], []
            start = 0
            for game, (*_, text, levels) in zip(games, rows, strict=True):
                own = np.frombuffer(text, dtype=SHADOWS).copy()
                number = len(game.forecasts) // settling.FORECASTS.itemsize
                own["model"] = models.codes(game.texts["models"])[own["model"]]
                own["forecast"] += start
                start += number
                of_game = np.frombuffer(levels, dtype="<f4").reshape(number + len(own), _LEVELS)
                shadows.append(own)
                quantiles.append(of_game[:number])
                of_shadows.append(of_game[number:])
        joined = np.concatenate(shadows)
        counted = _matching(forecasts, scope, models, callers)
        counted &= (_exclusions(forecasts, scope) == Exclusion.NONE) & (forecasts["sequence"] > filter_.since)
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
