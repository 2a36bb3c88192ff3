"""Takes outcomes into the ledger, and settles by them what was forecast.

On a connection whose transaction holds the write lock from its start, as all that writes (see `store`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from dejavu_models.errors import InvalidTeam
from dejavu_server.ledger.database import store
from dejavu_server.ledger.database.schema import entries, forecasts, markets, outcomes, settlements
from dejavu_server.ledger.entries import codec, rows
from dejavu_server.ledger.entries.rows import Row
from dejavu_server.ledger.entries.settlement import settle
from dejavu_server.ledger.errors import LedgerCorrupt
from dejavu_server.ledger.queries import learning
from dejavu_server.records import ReportedOutcome


class _Standing(NamedTuple):
    """The newest revision of an outcome, and the place of its first."""

    outcome: ReportedOutcome
    first_sequence: int

    def agrees(self, told: ReportedOutcome) -> bool:
        """Whether a report says nothing else."""
        mine, its = self.outcome, told
        same_teams = (its.home_team, its.away_team) in {("", ""), (mine.home_team, mine.away_team)}
        return mine.differential == its.differential and same_teams


def record_outcome(
    connection: Connection, told: ReportedOutcome, now: datetime
) -> tuple[ReportedOutcome, int] | InvalidTeam:
    """Records an outcome, unless it stands there already, and settles every forecast of its game and horizon by it.

    A report without teams agrees with one that has them, and one that corrects it keeps them.

    Args:
        connection: in a transaction that holds the write lock.
        told: the outcome; its place, revision and recorded time do not count.
        now: the present moment, UTC.

    Returns:
        The outcome as it stands in the ledger, and how many forecasts it settles. Or why it was not taken: its teams
        stand the other way round in the game's forecasts, so that its differential is likely of the other sign.
    """
    standing = _standing(connection, told)
    if standing is not None and standing.agrees(told):
        count = connection.execute(_COUNT_SETTLED, {"first": standing.first_sequence}).scalar_one()
        return standing.outcome, count
    if _swapped(connection, told):
        return InvalidTeam(told.home_team, f"{told.away_team}, who is at home in the forecasts of this game")
    head = store.head(connection)
    sequence = head.sequence + 1
    outcome = replace(told, recorded_time=now, sequence=sequence, revision=0)
    first_sequence = sequence
    if standing is not None:
        before, first_sequence = standing
        learning.drop_snapshots(connection, first_sequence)
        outcome = replace(outcome, revision=before.revision + 1)
        if not told.home_team:
            outcome = replace(outcome, home_team=before.home_team, away_team=before.away_team)
    payload = codec.outcome_payload(outcome)
    row, _ = store.entry_row(codec.OUTCOME, payload, outcome.revision, sequence, head.hash)
    connection.execute(store.ADD_ENTRIES, [row])
    connection.execute(_ADD_OUTCOME, [rows.outcome_row(outcome, first_sequence)])
    return outcome, _settle(connection, outcome, first_sequence)


def _standing(connection: Connection, told: ReportedOutcome) -> _Standing | None:
    row = connection.execute(_NEWEST, {"game_id": told.game_id, "horizon": told.horizon.value}).one_or_none()
    if row is None:
        return None
    try:
        return _Standing(codec.parse_outcome(row.canonical), row.first_sequence)
    except ValueError as error:
        raise LedgerCorrupt("the ledger is damaged: an outcome cannot be read back") from error


def _swapped(connection: Connection, told: ReportedOutcome) -> bool:
    """Whether the newest forecast of a game that names teams has them the other way round."""
    row = connection.execute(_TEAMS, {"game_id": told.game_id}).one_or_none() if told.home_team else None
    return row is not None and (row.home_team, row.away_team) == (told.away_team, told.home_team)


def _settle(connection: Connection, outcome: ReportedOutcome, first_sequence: int) -> int:
    """Settles by an outcome all that it is the outcome of, in place of what its earlier revisions settled."""
    connection.execute(_UNSETTLE, {"first": first_sequence})
    found = connection.execute(_OF_GAME, {"game_id": outcome.game_id, "horizon": outcome.horizon.value}).all()
    newest: dict[str, int] = {}
    for row in found:
        newest[row.key] = max(row.revision, newest.get(row.key, 0))
    settled: list[Row] = []
    for row in found:
        try:
            issued = codec.parse(row.canonical)
            bet = None
            if row.line is not None:
                bet = rows.read_bet(row.line, row.side, row.decimal_odds, row.stake_fraction)
            settlement = settle(issued, outcome, bet)
        except ValueError as error:
            raise LedgerCorrupt(f"the ledger is damaged: entry {row.sequence} cannot be settled") from error
        superseded = row.revision < newest[row.key]
        settled.append(
            rows.settlement_row(
                issued, outcome, settlement, first_sequence=first_sequence, superseded=superseded, bet=bet
            )
        )
    if settled:
        connection.execute(_ADD_SETTLEMENTS, settled)
    return len(settled)


# Made once: building a statement costs SQLAlchemy as much as running it.
_NEWEST = (
    select(outcomes.c.first_sequence, entries.c.canonical)
    .join(entries, entries.c.sequence == outcomes.c.sequence)
    .where(outcomes.c.game_id == bindparam("game_id"), outcomes.c.horizon == bindparam("horizon"))
    .order_by(outcomes.c.revision.desc())
    .limit(1)
)

_TEAMS = (
    select(forecasts.c.home_team, forecasts.c.away_team)
    .where(forecasts.c.game_id == bindparam("game_id"), forecasts.c.home_team != "", forecasts.c.away_team != "")
    .order_by(forecasts.c.sequence.desc())
    .limit(1)
)

_COUNT_SETTLED = select(func.count()).select_from(settlements).where(settlements.c.first_sequence == bindparam("first"))

_UNSETTLE = delete(settlements).where(settlements.c.first_sequence == bindparam("first"))

_OF_GAME = (
    select(
        forecasts.c.sequence,
        forecasts.c.key,
        forecasts.c.revision,
        entries.c.canonical,
        markets.c.line,
        markets.c.side,
        markets.c.decimal_odds,
        markets.c.stake_fraction,
    )
    .join_from(forecasts, entries, entries.c.sequence == forecasts.c.sequence)
    .outerjoin(markets, markets.c.forecast_sequence == forecasts.c.sequence)
    .where(forecasts.c.game_id == bindparam("game_id"), forecasts.c.horizon == bindparam("horizon"))
    .order_by(forecasts.c.sequence)
)

_ADD_OUTCOME = insert(outcomes)

_ADD_SETTLEMENTS = insert(settlements)
