"""What models learn from: the observations of a ledger.

There is one observation per outcome, model version and quarter, in order of first report. A model learns from its
forecasts, and as a challenger from its shadows. Minute and margin of a shadow, and whether it was late or replaced, are
those of the shadowed forecast.

A corrected outcome keeps the sequence of its first report, so the online state is a function of the ledger alone: all
readers at the same position have the same state. A withdrawn outcome is left out; the next report of it is a first one.

Only competitive games of the NBA are learned from (`dejavu_feed.game_ids.COMPETITIVE`): no preseason or All-Star games,
and no replays. Games whose id is of another season than their date are left out too: ratings that have reached a later
season ignore every game of an earlier one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

from dejavu_feed.game_ids import COMPETITIVE
from dejavu_ledger.database import sql, store
from dejavu_ledger.database.backend import Connection
from dejavu_models.types import Horizon
from dejavu_models.uncertainty.adaptive import Observation, TrackerKey


@dataclass(frozen=True, slots=True)
class SettledGame:
    """The outcome of a game and horizon, in its newest revision.

    Attributes:
        sequence: sequence of its first report.
        differential: home − away, in points.
        home_team, away_team: NBA codes; empty if not reported.
        day: local date of the game, by its first report: a correction may come weeks later.
        observations: scores of the forecasts to learn from: at most one for each model version and quarter.
        total_points: points of both teams; None if they were not reported.
        neutral_site: True if all its forecasts in time say that it is at a neutral site, so that no single one decides;
            otherwise None.
        players: its box score, see `codec.players_of`; None if it was not reported.
    """

    sequence: int
    game_id: str
    horizon: Horizon
    differential: int
    home_team: str
    away_team: str
    day: date
    observations: tuple[Observation, ...]
    total_points: int | None = None
    neutral_site: bool | None = None
    players: str | None = None


class Newest(NamedTuple):
    """The newest outcomes to learn from: with withdrawn ones (`reported`) and without them (`standing`).

    Attributes:
        reported: sequence of the newest report, correction or withdrawal; 0 if there is none. It shows a reader whether
            there is anything new.
        standing: sequence of the newest current outcome; 0 if there is none. With the outcomes up to it, it identifies
            the learned state, as if withdrawn outcomes had never been reported.
    """

    reported: int
    standing: int


_IS_COMPETITIVE: Final = f"substr(o.game_id, 1, 3) IN {(*sorted(COMPETITIVE),)}"

_NEWEST: Final = f"SELECT MAX(o.sequence) FROM outcomes o WHERE {_IS_COMPETITIVE}"  # noqa: S608

_NEWEST_STANDING: Final = f"""
    SELECT o.sequence FROM outcomes o JOIN scores s ON s.game_id = o.game_id AND s.horizon = o.horizon
    WHERE {_IS_COMPETITIVE} AND s.outcome = o.sequence ORDER BY o.sequence DESC LIMIT 1"""  # noqa: S608

_PENDING: Final = f"SELECT COUNT(*) FROM outcomes o WHERE o.sequence > :sequence AND {_IS_COMPETITIVE}"  # noqa: S608

_CORRECTED: Final = f"""
    SELECT MIN(o.first_sequence) FROM outcomes o
    WHERE o.sequence > :sequence AND o.first_sequence <= :sequence AND {_IS_COMPETITIVE}"""  # noqa: S608

_GAMES: Final = """
    SELECT s.first_sequence, s.game_id, s.horizon, o.differential, o.home_team, o.away_team, s.day, s.observations,
        o.total_points, s.neutral_site, o.players
    FROM scores s JOIN outcomes o ON o.sequence = s.outcome
    WHERE s.first_sequence > :after AND s.learned = TRUE ORDER BY s.first_sequence"""


def newest(connection: Connection) -> Newest:
    """Return the sequences of the newest outcomes to learn from."""
    return Newest(sql.value(connection, _NEWEST) or 0, sql.value(connection, _NEWEST_STANDING) or 0)


NOTHING_LEARNED: Final = b""
"""The `history` of a ledger without outcomes to learn from."""


def history(connection: Connection, reported: int) -> bytes:
    """Identify the ledger up to the newest report, which determines the learned state.

    Ledgers that diverged from one origin, such as a restored copy, differ in this even where the sequences are equal.
    """
    if not reported:
        return NOTHING_LEARNED
    digest = sql.value(connection, "SELECT hash FROM entries WHERE sequence = :sequence", sequence=reported)
    return b"%s/%d/%s" % (store.identity(connection).ledger_id.encode(), reported, digest)


def pending(connection: Connection, reported: int) -> int:
    """Return the number of reports, corrections and withdrawals to learn from after a sequence."""
    return int(sql.value(connection, _PENDING, sequence=reported))


def corrected_since(connection: Connection, sequence: int) -> int | None:
    """Return the lowest first-report sequence, up to a sequence, of outcomes corrected or withdrawn after it.

    None if there is none.
    """
    corrected: int | None = sql.value(connection, _CORRECTED, sequence=sequence)
    return corrected


def count(connection: Connection, sequence: int) -> int:
    """Return the number of standing outcomes to learn from that were first reported up to a sequence."""
    query = "SELECT COUNT(*) FROM scores WHERE first_sequence <= :sequence AND learned = TRUE"
    return int(sql.value(connection, query, sequence=sequence))


def settled_games_after(connection: Connection, sequence: int) -> list[SettledGame]:
    """Return the standing outcomes to learn from that were first reported after a sequence, in order.

    Raises:
        LedgerCorrupt: if a row cannot be read back.
    """
    with store.decoding():
        return [_game(row) for row in sql.rows(connection, _GAMES, after=sequence)]


def _game(row: sql.Row) -> SettledGame:
    sequence, game_id, horizon, differential, home, away, day, observations, total_points, neutral_site, players = row
    place, on, neutral = Horizon(horizon), date.fromordinal(day), True if neutral_site else None
    observed = tuple(Observation(TrackerKey(model, place, of), score) for model, of, score in json.loads(observations))
    return SettledGame(sequence, game_id, place, differential, home, away, on, observed, total_points, neutral, players)


def read_snapshot(connection: Connection, before: int) -> tuple[int, bytes] | None:
    """Return sequence and state of the newest snapshot of the intervals before a sequence; None if there is none."""
    query = "SELECT sequence, state FROM snapshots WHERE sequence < :before ORDER BY sequence DESC LIMIT 1"
    row = sql.row(connection, query, before=before)
    return None if row is None else (row[0], row[1])


def write_snapshot(connection: Connection, sequence: int, state: bytes, *, read_at: int) -> None:
    """Write a snapshot of the adaptive intervals, the only online state that is stored.

    It is not written if an outcome that it includes was corrected or withdrawn after its input was read.

    A stored snapshot is replaced only if it differs, because it was damaged or written by another release.

    Args:
        connection: in a transaction that holds the write lock.
        sequence: sequence of the last outcome that it includes.
        state: the serialized state.
        read_at: `Newest.reported` when its input was read.
    """
    corrected = corrected_since(connection, read_at)
    if corrected is not None and corrected <= sequence:
        return
    sql.run_each(connection, _WRITE_SNAPSHOT, [{"sequence": sequence, "state": state}])


_WRITE_SNAPSHOT: Final = """
    INSERT INTO snapshots (sequence, state) VALUES (:sequence, :state)
    ON CONFLICT (sequence) DO UPDATE SET state = excluded.state WHERE snapshots.state <> excluded.state"""


def drop_snapshots(connection: Connection, first_sequence: int) -> None:
    """Delete the snapshots that include a corrected outcome, given the sequence of its first report."""
    sql.run_each(connection, "DELETE FROM snapshots WHERE sequence >= :place", [{"place": first_sequence}])
