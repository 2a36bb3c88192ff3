"""Records outcomes in the ledger and settles the forecasts by them.

The connection's transaction must hold the write lock from its start, as for all writes (see `store`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from dejavu_models.errors import InvalidTeam
from dejavu_server.ledger.database import store
from dejavu_server.ledger.database.backend import Connection
from dejavu_server.ledger.entries import codec, rows
from dejavu_server.ledger.entries.rows import Row
from dejavu_server.ledger.entries.settlement import settle
from dejavu_server.ledger.errors import LedgerCorrupt
from dejavu_server.ledger.queries import learning, settling
from dejavu_server.records import ReportedOutcome
from dejavu_server.results import Failed, Result


class _StoredOutcome(NamedTuple):
    """Newest revision of an outcome, and the sequence of its first revision."""

    outcome: ReportedOutcome
    first_sequence: int

    def agrees(self, reported: ReportedOutcome) -> bool:
        """Returns whether a report has the same differential, and the same teams or none."""
        stored, new = self.outcome, reported
        same_teams = (new.home_team, new.away_team) in {("", ""), (stored.home_team, stored.away_team)}
        return stored.differential == new.differential and same_teams


def record_outcome(
    connection: Connection, reported: ReportedOutcome, now: datetime
) -> Result[tuple[ReportedOutcome, int]]:
    """Records an outcome, unless it is recorded already, and settles every forecast of its game and horizon.

    A report without teams agrees with a stored outcome that has them; a correction without teams keeps the stored ones.

    Args:
        connection: a connection in a transaction that holds the write lock.
        reported: the outcome; its sequence, revision and recorded time are ignored.
        now: the current time, UTC.

    Returns:
        The outcome as recorded, and the number of forecasts that it settles. Fails if the forecasts of the game
        have home and away team swapped, because its differential then likely has the wrong sign.
    """
    stored = _newest_revision(connection, reported)
    if stored is not None and stored.agrees(reported):
        count = settling.count(connection, stored.first_sequence)
        return stored.outcome, count
    if _swapped(connection, reported):
        expected = f"{reported.away_team}, the home team in the forecasts of this game"
        return Failed(InvalidTeam(reported.home_team, expected))
    head = store.head(connection)
    sequence = head.sequence + 1
    outcome = replace(reported, recorded_time=now, sequence=sequence, revision=0)
    first_sequence = sequence
    if stored is not None:
        previous, first_sequence = stored
        learning.drop_snapshots(connection, first_sequence)
        outcome = replace(outcome, revision=previous.revision + 1)
        if not reported.home_team:
            outcome = replace(outcome, home_team=previous.home_team, away_team=previous.away_team)
    payload = codec.outcome_payload(outcome)
    row, _ = store.entry_row(codec.OUTCOME, payload, outcome.revision, sequence, head.hash)
    settling.add_outcome(connection, row, rows.outcome_row(outcome, first_sequence))
    return outcome, _settle(connection, outcome, first_sequence)


def _newest_revision(connection: Connection, reported: ReportedOutcome) -> _StoredOutcome | None:
    row = settling.newest_outcome(connection, reported.game_id, reported.horizon)
    if row is None:
        return None
    try:
        return _StoredOutcome(codec.parse_outcome(row.canonical), row.first_sequence)
    except ValueError as error:
        raise LedgerCorrupt("the ledger is damaged: an outcome cannot be read back") from error


def _swapped(connection: Connection, reported: ReportedOutcome) -> bool:
    """Returns whether the game's newest forecast with teams has home and away team swapped."""
    row = settling.newest_teams(connection, reported.game_id) if reported.home_team else None
    return row is not None and (row.home_team, row.away_team) == (reported.away_team, reported.home_team)


def _settle(connection: Connection, outcome: ReportedOutcome, first_sequence: int) -> int:
    """Settles the forecasts of an outcome, replacing the settlements by its earlier revisions; returns their number."""
    forecast_rows = settling.forecasts_of(connection, outcome.game_id, outcome.horizon)
    newest: dict[str, int] = {}
    for row in forecast_rows:
        if not row.late:
            newest[row.key] = max(row.revision, newest.get(row.key, 0))
    settled: list[Row] = []
    for row in forecast_rows:
        try:
            issued = codec.parse(row.canonical, explanation=False)
            bet = None
            if row.line is not None:
                bet = rows.read_bet(row.line, row.side, row.decimal_odds, row.stake_fraction)
            settlement = settle(issued, outcome, bet)
        except ValueError as error:
            raise LedgerCorrupt(f"the ledger is damaged: entry {row.sequence} cannot be settled") from error
        superseded = row.revision < newest.get(row.key, 0)
        settled.append(
            rows.settlement_row(
                issued, outcome, settlement, first_sequence=first_sequence, superseded=superseded, bet=bet
            )
        )
    settling.replace_settlements(connection, first_sequence, settled)
    return len(settled)
