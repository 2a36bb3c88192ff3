"""Keeps the settled forecasts of a ledger in memory, from which any scorecard can be selected.

They take some 220 bytes a forecast. After new outcomes only the games of these are read; after a correction, a
withdrawal or a restore, everything is read again. The first report of a game at the other horizon may make forecasts
late, so the game is read again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, func, select

from dejavu_ledger.database import store
from dejavu_ledger.database.schema import forecasts, outcomes
from dejavu_ledger.queries import scorecards
from dejavu_ledger.queries.scorecards import TEAM_CODES, Codes, Columns, Position, ScoreFilter, SettledByModel
from dejavu_models.types import MAX_SLOTS, Horizon

MAX_FORECASTS = 500_000
"""Maximum number of forecasts of a ledger that is kept in memory: 110 MB. A larger one is read for each scorecard."""

MAX_NEW_OUTCOMES = 60
"""Maximum number of new outcomes whose games are read one by one: the halves and ends of two evenings."""


class _Kept(NamedTuple):
    """The settled forecasts of a horizon as of a position; never changed."""

    position: Position
    columns: Columns
    codes: Codes


class SettledCache:
    """Settled forecasts of both horizons. One thread at a time may call `settled` with `renew`, any number without."""

    def __init__(self) -> None:
        self._kept: dict[Horizon, _Kept] = {}

    def settled(self, connection: Connection, filter_: ScoreFilter, *, renew: bool) -> SettledByModel:
        """Return the result of `scorecards.settled`, from memory if possible; `models` may have unused versions, too.

        Args:
            connection: a read connection.
            filter_: the filter.
            renew: whether to read all settled forecasts of the horizon into memory if they are not up to date;
                otherwise those that match are read from the ledger.

        Raises:
            LedgerCorrupt: if a row cannot be read back.
        """
        kept = None if filter_.game_id else self._kept.get(filter_.horizon)
        if kept is not None and kept.position == scorecards.position(connection):
            return _selected(kept, filter_)
        if not renew or filter_.game_id or not _fits(connection):
            return scorecards.settled(connection, filter_)
        with store.snapshot_read(connection):
            kept = self._kept[filter_.horizon] = _renewed(connection, kept, filter_.horizon)
        return _selected(kept, filter_)


def _fits(connection: Connection) -> bool:
    """Return whether the ledger is small enough to be kept in memory."""
    forecasts_: int = connection.execute(_COUNT, {"most": MAX_FORECASTS + 1}).scalar_one()
    return forecasts_ <= MAX_FORECASTS


def _renewed(connection: Connection, kept: _Kept | None, horizon: Horizon) -> _Kept:
    """Return the current settled forecasts, given those that were kept before."""
    now = scorecards.read_position(connection)
    everything = ScoreFilter(horizon=horizon, replays=True)
    if kept is not None and kept.position.ledger == now.ledger:
        values = {"after": kept.position.outcome, "horizon": horizon.value, "most": MAX_NEW_OUTCOMES + 1}
        reported = connection.execute(_REPORTED, values).all()
        if len(reported) <= MAX_NEW_OUTCOMES and not any(row.revision for row in reported):
            codes = kept.codes.copy()
            new = [row.game_id for row in reported if row.horizon == horizon.value]
            others = {row.game_id for row in reported} - {*new}
            again = connection.execute(_SETTLED_BEFORE, {**values, "games": sorted(others)}).all() if others else []
            filters = [ScoreFilter(horizon=horizon, game_id=game_id) for game_id in (*new, *(row[0] for row in again))]
            stay = ~np.isin(kept.columns["game"], [row.first_report for row in again])
            parts = [{name: column[stay] for name, column in kept.columns.items()}]
            parts += (scorecards.read_columns(connection, filter_, codes) for filter_ in filters)
            columns = {name: np.concatenate([part[name] for part in parts]) for name in kept.columns}
            order = np.lexsort((columns["sequence"], columns["game"]))  # that of `read_columns`
            return _Kept(now, {name: column[order] for name, column in columns.items()}, codes)
    codes = Codes()
    return _Kept(now, scorecards.read_columns(connection, everything, codes), codes)


def _selected(kept: _Kept, filter_: ScoreFilter) -> SettledByModel:
    columns, codes = kept.columns, kept.codes
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
    for text, name, numbers in (
        (filter_.model_version, "model", codes.models),
        (filter_.recorded_by, "caller", codes.callers),
    ):
        if text:
            chosen &= columns[name] == numbers.get(text, -1)
    minute = np.minimum(columns["minute"], MAX_SLOTS)  # overtime follows minute 47, as in the table
    if filter_.min_minutes is not None:
        chosen &= minute >= filter_.min_minutes
    if filter_.max_minutes is not None:
        chosen &= minute <= filter_.max_minutes
    if filter_.real_only:
        chosen &= ~columns["replay"]
    return scorecards.by_model({name: column[chosen] for name, column in columns.items()}, codes)


_COUNT = select(func.count()).select_from(select(forecasts.c.sequence).limit(bindparam("most")).subquery())

_OF_HORIZON = outcomes.c.horizon == bindparam("horizon")

_REPORTED = (
    select(outcomes.c.game_id, outcomes.c.horizon, outcomes.c.revision)
    .where(outcomes.c.sequence > bindparam("after"))
    .order_by(outcomes.c.sequence)
    .limit(bindparam("most"))
)
"""New outcomes of both horizons."""

_SETTLED_BEFORE = (
    select(outcomes.c.game_id, func.min(outcomes.c.sequence).label("first_report"))
    .where(outcomes.c.sequence <= bindparam("after"), _OF_HORIZON)
    .where(outcomes.c.game_id.in_(bindparam("games", expanding=True)))
    .group_by(outcomes.c.game_id)
)
"""Of some games, those settled before, with the sequences of their first reports (`standing.FIRST_REPORT`)."""
