"""Selects the settled forecasts of a scorecard, and the games that nobody settled.

The scores are read from the rows of `scores`, one a game. `KnownScores` keeps those of a process in memory, some 220
bytes a forecast, and reads only games that were settled since.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_common.clock import microseconds
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.queries.filters import CommonFilter, all_of
from dejavu_ledger.scores import packed
from dejavu_ledger.scores.packed import TEAM_CODES, Columns, Game, Texts
from dejavu_models.scorecard.settled import Exclusion, SettledForecasts
from dejavu_models.types import MAX_SLOTS, Horizon

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

    def parameters(self) -> dict[str, object]:
        """See `CommonFilter.parameters`."""
        own = {
            "min_minutes": self.min_minutes,
            "max_minutes": self.max_minutes,
            "recorded_by": self.recorded_by or None,
        }
        # Not super(), which a dataclass with slots does not have.
        return CommonFilter.parameters(self) | {name: value for name, value in own.items() if value is not None}


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


class Position(NamedTuple):
    """Identity of a scorecard's inputs: equal positions on one evening mean equal inputs.

    A scorecard changes only with another outcome, with the withdrawal of one, and at the end of an evening, when its
    games start to count as unsettled.

    Attributes:
        ledger: the identity of the ledger.
        outcome: sequence of the newest outcome; 0 if there is none.
    """

    ledger: store.Identity
    outcome: int


def position(connection: Connection) -> Position:
    """Return the position of the ledger."""
    with sql.snapshot(connection):
        return _position(connection)


def _position(connection: Connection) -> Position:
    newest = sql.value(connection, "SELECT MAX(sequence) FROM outcomes")
    return Position(store.identity(connection), newest or 0)


class _Table(NamedTuple):
    """Settled forecasts of a horizon in order of their outcomes, as of a position; never changed.

    Attributes:
        models, callers: texts of the columns model and caller; shared by all tables of a `KnownScores`.
    """

    position: Position
    columns: Columns
    models: Texts
    callers: Texts


class KnownScores:
    """Settled forecasts of both horizons, as far as they were read."""

    def __init__(self) -> None:
        self._kept: dict[Horizon, _Table] = {}
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


def settled(connection: Connection, filter_: ScoreFilter) -> SettledByModel:
    """Return the settled forecasts that match a filter, in order of their outcomes.

    Raises:
        LedgerCorrupt: if a row cannot be read back.
    """
    texts = Texts(), Texts()
    with sql.snapshot(connection):
        columns = _read(connection, conditions_of_games(filter_), filter_.parameters(), *texts)
        return _selected(_Table(_position(connection), columns, *texts), filter_)


_CONDITIONS_OF_GAMES: Final = {
    "horizon": "horizon = :horizon",
    "game": "game_id = :game",
    "first_day": "last_day >= :first_day",
    "last_day": "first_day <= :last_day",
}


def conditions_of_games(filter_: ScoreFilter) -> list[str]:
    """Return conditions of the rows of `scores` that may have forecasts that match a filter."""
    given = filter_.parameters()
    conditions = [condition for name, condition in _CONDITIONS_OF_GAMES.items() if name in given]
    return [*conditions, "replay = FALSE"] if filter_.real_only else conditions


def _read(
    connection: Connection, conditions: Sequence[str], values: Mapping[str, object], models: Texts, callers: Texts
) -> Columns:
    query = f"SELECT first_report, texts, forecasts, markets FROM scores WHERE {all_of(conditions)}"  # noqa: S608
    rows = sorted(sql.rows(connection, query, **values))
    with store.decoding():
        return packed.columns([Game(json.loads(texts), *arrays) for _, texts, *arrays in rows], models, callers)


def _renewed(connection: Connection, horizon: Horizon, table: _Table | None) -> _Table:
    """Return the current table of a horizon, given an earlier one."""
    with sql.snapshot(connection):
        now = _position(connection)
        if table is None or table.position.ledger != now.ledger or table.position.outcome > now.outcome:
            texts = Texts(), Texts()
            table = _Table(Position(now.ledger, 0), packed.columns([], *texts), *texts)
        values = {"horizon": horizon.value, "last": table.position.outcome}
        new = _read(connection, ["horizon = :horizon", "sequence > :last"], values, table.models, table.callers)
    stay = ~np.isin(table.columns["game"], new["game"])  # what was settled before stays in the row of its game
    columns = {name: np.concatenate((column[stay], new[name])) for name, column in table.columns.items()}
    order = np.argsort(columns["game"], kind="stable")
    return table._replace(position=now, columns={name: column[order] for name, column in columns.items()})


def matching(columns: Columns, filter_: ScoreFilter, models: Texts, callers: Texts) -> NDArray[np.bool_]:
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


def exclusions(columns: Columns, filter_: ScoreFilter) -> NDArray[np.int64]:
    """Return why each forecast in columns does not count; those of others than the owner do on their own cards only."""
    if filter_.recorded_by:
        return columns["exclusion"]
    return np.where(columns["owned"], columns["exclusion"], np.int64(Exclusion.OTHERS))


def _selected(table: _Table, filter_: ScoreFilter) -> SettledByModel:
    chosen = matching(table.columns, filter_, table.models, table.callers)
    columns = {name: column[chosen] for name, column in table.columns.items()}
    columns["exclusion"] = exclusions(columns, filter_)
    return SettledByModel(packed.settled(columns), columns["model"], table.models.all())


class UnsettledGame(NamedTuple):
    """A game without any report of its outcome at a horizon, and a model version that forecast it in time."""

    game_id: str
    model_version: str


def unsettled_games(connection: Connection, filter_: ScoreFilter, before: datetime) -> list[UnsettledGame]:
    """Return the games with matching forecasts made before a time, and without a report.

    A bad game that is never reported would otherwise be on no scorecard. A game whose outcome was withdrawn is not
    among them, unless that was before its first forecast; nor is one whose forecasts are all late.

    Args:
        connection: a read connection.
        filter_: the filter.
        before: aware, UTC.
    """
    owned = [] if filter_.recorded_by else ["f.owned = TRUE"]
    games = "SELECT CAST(:game AS TEXT) AS game_id" if filter_.game_id else _GAMES
    query = f"""
        WITH RECURSIVE games AS ({games})
        SELECT DISTINCT f.game_id, f.model_version FROM games JOIN forecasts f ON f.game_id = games.game_id
        WHERE NOT EXISTS (
                SELECT 1 FROM scores s WHERE s.game_id = games.game_id AND s.horizon = :horizon AND s.void = FALSE)
            AND f.late = '' AND f.hindsight IS NULL AND f.generated_us < :before_us
            AND {all_of([*filter_.conditions(), *owned])}"""  # noqa: S608
    found = sql.rows(connection, query, **filter_.parameters(), before_us=microseconds(before))
    return [UnsettledGame(*row) for row in found]


_GAMES: Final = """
    SELECT MIN(game_id) AS game_id FROM forecasts
    UNION ALL
    SELECT (SELECT MIN(later.game_id) FROM forecasts later WHERE later.game_id > games.game_id)
    FROM games WHERE games.game_id IS NOT NULL"""
"""The games with forecasts, each found in the index from the one before: there are hundreds of forecasts for each."""
