"""Records outcomes in the ledger and settles the forecasts by them.

The connection's transaction must hold the write lock from its start, as for all writes (see `store`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from dejavu_models.errors import InvalidInput, InvalidTeam
from dejavu_models.types import Horizon
from dejavu_server.ledger.database import store
from dejavu_server.ledger.database.backend import Connection
from dejavu_server.ledger.entries import codec, rows
from dejavu_server.ledger.entries.rows import Row
from dejavu_server.ledger.entries.settlement import settle
from dejavu_server.ledger.errors import InvalidDifferential, LedgerCorrupt
from dejavu_server.ledger.queries import learning, settling
from dejavu_server.records import ReportedOutcome
from dejavu_server.results import Failed, Result

MAX_SWING: Final = 100
"""Largest plausible change of a differential from the half to the end, in points; none in the NBA came near it."""

_PLACES: Final = {Horizon.HALFTIME: "at the half", Horizon.FINAL: "at the end"}


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
        The outcome as recorded, and the number of forecasts that it settles. Fails with an InvalidInput if it cannot
        be true together with what is recorded of the game: with the differential at the other horizon (`MAX_SWING`),
        or with the teams of the newest forecast or of an outcome. Another differential or team is likely of another
        game, and swapped teams give the differential the wrong sign.
    """
    stored = _newest_revision(connection, reported.game_id, reported.horizon)
    if stored is not None and stored.agrees(reported):
        count = settling.count(connection, stored.first_sequence)
        return stored.outcome, count
    contradiction = _contradiction(connection, reported, None if stored is None else stored.outcome)
    if contradiction is not None:
        return Failed(contradiction)
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


def _newest_revision(connection: Connection, game_id: str, horizon: Horizon) -> _StoredOutcome | None:
    row = settling.newest_outcome(connection, game_id, horizon)
    if row is None:
        return None
    try:
        return _StoredOutcome(codec.parse_outcome(row.canonical), row.first_sequence)
    except ValueError as error:
        raise LedgerCorrupt("the ledger is damaged: an outcome cannot be read back") from error


def _contradiction(
    connection: Connection, reported: ReportedOutcome, before: ReportedOutcome | None
) -> InvalidInput | None:
    """Returns the error of a report that contradicts what is recorded of its game, otherwise None.

    Args:
        connection: a connection in a transaction that holds the write lock.
        reported: the report.
        before: the outcome that it would correct; None if it is the first.
    """
    other_horizon = Horizon.HALFTIME if reported.horizon is Horizon.FINAL else Horizon.FINAL
    stored = _newest_revision(connection, reported.game_id, other_horizon)
    other = None if stored is None else stored.outcome
    if other is not None and _implausible_swing(reported, before, other):
        found = f"{reported.differential} {_PLACES[reported.horizon]}"
        recorded = f"{other.differential}, recorded {_PLACES[other.horizon]}"
        return InvalidDifferential(found, f"at most {MAX_SWING} points from {recorded}; correct the wrong one first")
    if not reported.home_team:
        return None
    row = settling.newest_teams(connection, reported.game_id)
    if row is not None and (row.home_team, row.away_team) != (reported.home_team, reported.away_team):
        return _other_teams(reported, row.home_team, row.away_team, "in the forecasts of this game")
    if before is not None and before.home_team:
        # Earlier releases recorded outcomes with other teams than the forecasts. They can be corrected to these.
        standing = before if row is None else None
    else:
        standing = other if other is not None and other.home_team else None
    if standing is None:
        return None
    place = f"in the outcome that is recorded {_PLACES[standing.horizon]}"
    return _other_teams(reported, standing.home_team, standing.away_team, place)


def _implausible_swing(reported: ReportedOutcome, before: ReportedOutcome | None, other: ReportedOutcome) -> bool:
    """Returns whether a differential is too far from that of the other horizon.

    Earlier releases recorded such pairs. What brings one no further apart is taken, so that both can be corrected.
    """
    swing = abs(reported.differential - other.differential)
    return swing > MAX_SWING and (before is None or swing > abs(before.differential - other.differential))


def _other_teams(reported: ReportedOutcome, home_team: str, away_team: str, place: str) -> InvalidTeam | None:
    """Returns an error that names each team of a report that is not the one known; None if both are."""
    sides = (("home", reported.home_team, home_team), ("away", reported.away_team, away_team))
    errors = [
        InvalidTeam(found, f"{known}, the {side} team {place}", field=f"{side}_team")
        for side, found, known in sides
        if found != known
    ]
    if not errors:
        return None
    errors[0].others = tuple(errors[1:])
    return errors[0]


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
