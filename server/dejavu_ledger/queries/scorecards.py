"""Selects the settled forecasts of a scorecard, the games that nobody settled, and the pairs of two models' forecasts.

The scores are read from the rows of `scores`, one a game. `KnownScores` keeps those of a process in memory, some 220
bytes a forecast, and reads only games that were settled since; it also keeps which games nobody settled.

A model's forecast is its own, or its shadow of another model's. Two are a pair if they are a forecast and its shadow,
or shadows of the same one. They count as on a scorecard; a shadow counts if the shadowed forecast does.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_common.clock import microseconds
from dejavu_feed.teams import TEAMS
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.queries.pages import CommonFilter
from dejavu_ledger.settling import FORECASTS, MARKETS, SHADOWS, codes
from dejavu_models.comparison import PERSISTENCE, PairedForecasts
from dejavu_models.metrics import cramer_distance, leader_probability
from dejavu_models.scorecard.settled import Exclusion, SettledForecasts, SettledMarket
from dejavu_models.types import DISTRIBUTION_LEVELS, MAX_SLOTS, Horizon

MAX_KEPT: Final = 500_000
"""Maximum number of forecasts of a horizon that are kept in memory: 110 MB. More are read for each scorecard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFilter(CommonFilter):
    """Selects settled forecasts of one horizon.

    Attributes:
        min_minutes, max_minutes: bounds of the minute of play.
        complete_minutes: True: without forecasts of moments between the ends of minutes.
        recorded_by: identity of the caller who recorded them; empty: the owner of each game.
        min_difference: of markets; selects no forecasts. See `market_record`.
    """

    horizon: Horizon = Horizon.HALFTIME
    min_minutes: int | None = None
    max_minutes: int | None = None
    complete_minutes: bool | None = None
    recorded_by: str = ""
    min_difference: float = 0.0


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


TEAM_CODES: Final = {"": 0, **{team: 1 + index for index, team in enumerate(sorted(TEAMS))}}
"""Integers that represent teams in columns; 0 for none."""

Columns = dict[str, NDArray[Any]]
"""Columns of equal length."""


class _Forecasts(NamedTuple):
    """Settled forecasts of a horizon, in order of their outcomes; never changed.

    Attributes:
        columns: those of `settling.FORECASTS`, and markets.
        models, callers: the integers that represent them in columns; texts are only added.
    """

    columns: Columns
    models: dict[str, int]
    callers: dict[str, int]

    @classmethod
    def of(cls, rows: Sequence[sql.Row], models: dict[str, int], callers: dict[str, int]) -> _Forecasts:
        """Return the forecasts of rows of `scores`: of their columns texts, forecasts and markets.

        Raises:
            ValueError: if a row cannot be read.
        """
        parts = [np.frombuffer(packed, dtype=FORECASTS) for _, packed, _ in rows]
        joined = np.concatenate([np.empty(0, dtype=FORECASTS), *parts])
        found: Columns = {name: np.ascontiguousarray(joined[name]) for name in FORECASTS.names or ()}
        found["markets"] = markets = np.full(len(joined), None, dtype=np.object_)
        end = 0
        for (texts, _, packed), part in zip(rows, parts, strict=True):
            start, end = end, end + len(part)
            named = json.loads(texts)
            teams = np.array([TEAM_CODES[team] for team in named["teams"]], dtype=np.int32)
            found["home"][start:end], found["away"][start:end] = teams[part["home"]], teams[part["away"]]
            for name, known in (("model", models), ("caller", callers)):
                found[name][start:end] = np.array(codes(known, named[f"{name}s"]), dtype=np.int32)[part[name]]
            for forecast, *market in np.frombuffer(packed, dtype=MARKETS).tolist():
                of_forecast = markets[start + forecast] or ()
                markets[start + forecast] = (*of_forecast, SettledMarket(*market))
        return cls(found, models, callers)

    def matching(self, filter_: ScoreFilter) -> NDArray[np.bool_]:
        """Return which forecasts match a filter, except for its horizon and game."""
        chosen: NDArray[np.bool_] = np.ones(len(self.columns["game"]), dtype=np.bool_)
        for name, value in filter_.parameters().items():
            if name in _MATCHING:
                chosen &= _MATCHING[name](self, value)
        return chosen & ~self.columns["replay"] if filter_.real_only else chosen

    def selected(self, filter_: ScoreFilter) -> SettledByModel:
        """Return the forecasts that match a filter, except for its horizon and game."""
        # The few rows of a week are taken from a season's faster by their indexes than by a mask.
        chosen = np.flatnonzero(self.matching(filter_))
        columns = {name: column[chosen] for name, column in self.columns.items()}
        columns |= {"exclusion": _exclusions(columns, filter_), "order": columns["game"]}
        if filter_.recorded_by:
            columns["revised"] = columns["own_revised"]
        forecasts = SettledForecasts(**{each.name: columns[each.name] for each in fields(SettledForecasts)})
        return SettledByModel(forecasts, columns["model"], [*self.models])


_MATCHING: Final[dict[str, Callable[[_Forecasts, Any], NDArray[np.bool_]]]] = {
    "first_day": lambda of, day: of.columns["day"] >= day,
    "last_day": lambda of, day: of.columns["day"] <= day,
    "team": lambda of, team: (of.columns["home"] == TEAM_CODES[team]) | (of.columns["away"] == TEAM_CODES[team]),
    "min_confidence": lambda of, least: of.columns["confidence"] >= least,
    "model_version": lambda of, version: of.columns["model"] == of.models.get(version, -1),
    "recorded_by": lambda of, caller: of.columns["caller"] == of.callers.get(caller, -1),
    # Overtime follows minute 47.
    "min_minutes": lambda of, least: np.minimum(of.columns["minute"], MAX_SLOTS) >= least,
    "max_minutes": lambda of, most: np.minimum(of.columns["minute"], MAX_SLOTS) <= most,
    "complete_minutes": lambda of, _: of.columns["elapsed_s"] == 60 * of.columns["minute"],
}
"""Which forecasts meet a condition, by the fields of a filter: as `pages.CONDITIONS` of their rows."""


def _exclusions(columns: Columns, filter_: ScoreFilter) -> NDArray[np.int64]:
    """Return why each forecast in columns does not count; those of others than the owner do on their own cards only."""
    if filter_.recorded_by:
        return columns["own_exclusion"]
    return np.where(columns["owned"], columns["exclusion"], np.int64(Exclusion.OTHERS))


class UnsettledGame(NamedTuple):
    """A game with forecasts in time after which no outcome was reported at a horizon, and a model version of them."""

    game_id: str
    model_version: str


class KnownScores:
    """Settled forecasts of both horizons, as far as they were read, and the games that are not settled."""

    def __init__(self) -> None:
        self._kept: dict[Horizon, tuple[ScoresPosition, _Forecasts]] = {}
        self._open: dict[Horizon, tuple[tuple[ScoresPosition, datetime], list[str]]] = {}
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
            kept = self._kept.get(filter_.horizon)
            if kept is None or kept[0] != position(connection):
                kept = _renewed(connection, filter_.horizon, kept)
                if len(kept[1].columns["game"]) <= MAX_KEPT:
                    self._kept[filter_.horizon] = kept
        return kept[1].selected(filter_)

    def unsettled(self, connection: Connection, filter_: ScoreFilter, before: datetime) -> list[UnsettledGame]:
        """Return the games with matching forecasts made before a time, after which no outcome was reported.

        A bad game that is never reported would otherwise be on no scorecard. Hindsight, which a report at the other
        horizon can show, takes no game out; a game whose forecasts were all late when recorded is not among them.

        Args:
            connection: a read connection.
            filter_: the filter.
            before: aware, UTC: when the evening began. Games are found anew for another one, and after an outcome.
        """
        known = position(connection), before
        found_at, games = self._open.get(filter_.horizon, (None, []))
        if found_at != known:
            rows = sql.rows(connection, _GAMES_WITHOUT_REPORT, horizon=filter_.horizon.value)
            games = [game_id for (game_id,) in rows]
            self._open[filter_.horizon] = known, games
        if filter_.game_id:
            games = [each for each in games if each == filter_.game_id]
        owned = [] if filter_.recorded_by else ["f.owned = TRUE"]
        query = f"""
            SELECT DISTINCT f.game_id, f.model_version FROM forecasts f
            WHERE f.game_id IN :games AND f.late = '' AND f.generated_us < :before_us AND NOT EXISTS (
                SELECT 1 FROM scores s WHERE s.game_id = f.game_id AND s.horizon = :horizon
                    AND s.first_sequence > f.sequence)
                AND {" AND ".join([*filter_.conditions(), *owned])}"""  # noqa: S608
        found = sql.rows(connection, query, **filter_.parameters(), before_us=microseconds(before), games=games)
        return [UnsettledGame(*row) for row in found]


def settled(connection: Connection, filter_: ScoreFilter) -> SettledByModel:
    """Return the settled forecasts that match a filter, in order of their outcomes.

    Raises:
        LedgerCorrupt: if a row cannot be read back.
    """
    rows = _rows(connection, _OF_FORECASTS, filter_.conditions(_CONDITIONS_OF_GAMES), filter_.parameters())
    with store.decoding():
        return _Forecasts.of(rows, {}, {}).selected(filter_)


def game_ids(connection: Connection, horizon: Horizon, orders: Sequence[int]) -> dict[int, str]:
    """Return the ids of games by the numbers that stand for them in settled forecasts (`SettledForecasts.order`)."""
    query = "SELECT first_report, game_id FROM scores WHERE horizon = :horizon AND first_report IN :orders"
    return dict(sql.rows(connection, query, horizon=horizon.value, orders=[*orders]))


_OF_FORECASTS: Final = "texts, forecasts, markets"

_CONDITIONS_OF_GAMES: Final = {
    "horizon": "horizon = :horizon",
    "game_id": "game_id = :game_id",
    "first_day": "last_day >= :first_day",
    "last_day": "first_day <= :last_day",
    "real_only": "replay = FALSE",
}
"""Conditions of the rows of `scores` that may have forecasts that match a filter; as `pages.CONDITIONS`."""


def _rows(
    connection: Connection, columns: str, conditions: Sequence[str], values: Mapping[str, object]
) -> list[sql.Row]:
    """Return columns of the rows of `scores` that meet some conditions, in order of the first report."""
    query = f"SELECT first_report, {columns} FROM scores WHERE {' AND '.join(conditions)}"  # noqa: S608
    return [row[1:] for row in sorted(sql.rows(connection, query, **values))]


def _renewed(
    connection: Connection, horizon: Horizon, kept: tuple[ScoresPosition, _Forecasts] | None
) -> tuple[ScoresPosition, _Forecasts]:
    """Return the current forecasts of a horizon with their position, given earlier ones."""
    with sql.snapshot(connection):
        now = _position(connection)
        if kept is None or kept[0].ledger != now.ledger or kept[0].outcome > now.outcome:
            kept = ScoresPosition(now.ledger, 0), _Forecasts.of([], {}, {})
        values = {"horizon": horizon.value, "last": kept[0].outcome}
        rows = _rows(connection, _OF_FORECASTS, ["horizon = :horizon", "sequence > :last"], values)
    before, models, callers = kept[1]
    with store.decoding():
        new = _Forecasts.of(rows, models, callers).columns
    stay = ~np.isin(before["game"], new["game"])  # what was settled before stays in the row of its game
    columns = {name: np.concatenate((column[stay], new[name])) for name, column in before.items()}
    order = np.argsort(columns["game"], kind="stable")
    return now, _Forecasts({name: column[order] for name, column in columns.items()}, models, callers)


_GAMES_WITHOUT_REPORT: Final = """
    WITH RECURSIVE games AS (
        SELECT MIN(game_id) AS game_id FROM forecasts
        UNION ALL
        SELECT (SELECT MIN(later.game_id) FROM forecasts later WHERE later.game_id > games.game_id)
        FROM games WHERE games.game_id IS NOT NULL)
    SELECT game_id FROM games WHERE game_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM scores s WHERE s.game_id = games.game_id AND s.horizon = :horizon AND s.outcome IS NOT NULL)"""
"""Games with forecasts, and without an outcome that stands at a horizon.

Each game is found in the index from the one before: there are hundreds of forecasts for each.
"""


_LEVELS: Final = len(DISTRIBUTION_LEVELS)


def pairs(
    connection: Connection, versions: Sequence[str], against: str, filter_: ScoreFilter, since: int = 0
) -> dict[str, PairedForecasts]:
    """Return the pairs of several models with another one by model, in the order in which their games were settled.

    A game is numbered by the sequence of its outcome's first report. Forecasts without a
    distribution, and so without a CRPS, are left out.

    Args:
        connection: a read connection.
        versions: the models.
        against: the other one, or PERSISTENCE.
        filter_: conditions of the forecasts, or of those that shadows accompany; without a model.
        since: sequence after which these count.

    Raises:
        LedgerCorrupt: if a row cannot be read back.
    """
    scored = _Scored.read(connection, filter_, since)
    other = scored.persistence() if against == PERSISTENCE else scored.of(against)
    return {version: scored.paired(scored.of(version), other) for version in versions}


class _Scored(NamedTuple):
    """What models said, in a forecast of their own or a shadow, of n forecasts with a current outcome.

    Attributes:
        forecasts: columns of the forecasts, in order of their outcomes.
        counted: (n,), whether a forecast matches the filter and counts.
        models: the integers that represent them.
        said: (m,), array of `settling.SHADOWS`: the forecasts and their shadows; `forecast` is an index of these.
        quantiles: (m, levels), in points.
    """

    forecasts: Columns
    counted: NDArray[np.bool_]
    models: dict[str, int]
    said: NDArray[Any]
    quantiles: NDArray[np.float32]

    @classmethod
    def read(cls, connection: Connection, filter_: ScoreFilter, since: int) -> _Scored:
        """Read what matches a filter, after a sequence."""
        conditions = ["outcome IS NOT NULL", *filter_.conditions(_CONDITIONS_OF_GAMES)]
        rows = _rows(connection, "texts, forecasts, shadows, quantiles", conditions, filter_.parameters())
        with store.decoding():
            forecasts = _Forecasts.of([(*row[:2], b"") for row in rows], {}, {})
            said, quantiles, start = [np.empty(0, dtype=SHADOWS)], [np.empty((0, _LEVELS), "<f4")], 0
            for texts, packed, shadows, levels in rows:
                of_game = np.frombuffer(packed, dtype=FORECASTS)
                own = np.empty(len(of_game), dtype=SHADOWS)
                own["forecast"] = np.arange(len(own))
                for name in ("model", "crps", "probability", "covered", "width"):
                    own[name] = of_game[name]
                both = np.concatenate((own, np.frombuffer(shadows, dtype=SHADOWS)))
                both["model"] = np.array(codes(forecasts.models, json.loads(texts)["models"]))[both["model"]]
                both["forecast"] += start
                said.append(both)
                quantiles.append(np.frombuffer(levels, dtype="<f4").reshape(len(both), _LEVELS))
                start += len(own)
        columns = forecasts.columns
        counts = (_exclusions(columns, filter_) == Exclusion.NONE) & (columns["sequence"] > since)
        counted = counts & forecasts.matching(filter_)
        return cls(columns, counted, forecasts.models, np.concatenate(said), np.concatenate(quantiles))

    def of(self, version: str) -> Columns:
        """Return what a model said of the forecasts that count."""
        by_model = self.said["model"] == self.models.get(version, -1)
        at = np.flatnonzero(by_model & self.counted[self.said["forecast"]])
        said = self.said[at]
        return {name: said[name] for name in SHADOWS.names or ()} | {"quantiles": self.quantiles[at]}

    def persistence(self) -> Columns:
        """Return the last known lead as a certain forecast, beside each forecast that counts."""
        at = np.flatnonzero(self.counted)
        lead, differential = (self.forecasts[name][at] for name in ("lead", "differential"))
        return {
            "forecast": at,
            "crps": np.abs(lead - differential),
            "probability": leader_probability(lead),
            "quantiles": np.broadcast_to(lead[:, None], (len(at), _LEVELS)),
        }

    def paired(self, model: Columns, other: Columns) -> PairedForecasts:
        """Return the pairs of a model and another one."""
        _, left, right = np.intersect1d(model["forecast"], other["forecast"], assume_unique=True, return_indices=True)
        both = ~(np.isnan(model["crps"][left]) | np.isnan(other["crps"][right]))
        model, other = (
            {name: column[at[both]] for name, column in of.items()} for of, at in ((model, left), (other, right))
        )
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
