"""Observations for the online state: one per outcome, model version and quarter, in order of first report.

A corrected outcome keeps the sequence of its first report, so the online state is a function of the ledger alone: every
reader that has read equally far has the same state.

Only competitive games of the NBA are learned from (`dejavu_feed.game_ids.COMPETITIVE`): no preseason or All-Star games,
and no replays. Nor are games whose id is of another season than their date: earlier releases recorded those too, and
ratings that have reached a later season ignore every game of an earlier one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from dejavu_feed.game_ids import COMPETITIVE, is_of_season
from dejavu_models.types import Horizon
from dejavu_models.uncertainty.adaptive import QUARTER_MIDPOINTS, Observation, TrackerKey, quarter_of
from dejavu_server.ledger.database.schema import forecasts, outcomes, settlements, snapshots

PAGE = 200
"""Outcomes per query."""

INTERVALS = "intervals"
"""The only part of a snapshot: the state of the adaptive intervals."""


@dataclass(frozen=True, slots=True)
class SettledGame:
    """The outcome of a game and horizon, in its newest revision.

    Attributes:
        sequence: sequence of its first report.
        differential: home − away, in points.
        home_team, away_team: NBA codes; empty if not reported.
        day: local date of the game, by its first report: a correction may come weeks later.
        observations: scores of the forecasts to learn from: at most one for each model version and quarter.
    """

    sequence: int
    game_id: str
    horizon: Horizon
    differential: int
    home_team: str
    away_team: str
    day: date
    observations: tuple[Observation, ...]


def newest(connection: Connection) -> int:
    """Returns the sequence of the newest outcome to learn from; 0 if there is none."""
    sequence: int | None = connection.execute(_NEWEST).scalar_one()
    return sequence or 0


def corrected_since(connection: Connection, sequence: int) -> int | None:
    """Returns the lowest first-report sequence, up to `sequence`, of outcomes corrected after it; None if none was."""
    corrected: int | None = connection.execute(_CORRECTED, {"sequence": sequence}).scalar_one()
    return corrected


def count(connection: Connection, sequence: int) -> int:
    """Returns the number of outcomes to learn from that were first reported up to a sequence."""
    rows = connection.execute(_FIRST_REPORTS, {"place": sequence})
    return sum(is_of_season(game_id, date.fromordinal(day)) for game_id, day in rows)


def settled_games_after(
    connection: Connection, sequence: int, *, with_observations: bool = True
) -> Iterator[SettledGame]:
    """Yields the outcomes to learn from that were first reported after a sequence, in order, in their newest revision.

    Args:
        connection: a read connection.
        sequence: where to start.
        with_observations: whether to read their observations, which takes most of the time.
    """
    while rows := connection.execute(_OUTCOMES, {"place": sequence, "limit": PAGE}).all():
        last = rows[-1].first_sequence
        settled = connection.execute(_SETTLED, {"after": sequence, "last": last}).all() if with_observations else ()
        observations = {
            first: tuple(_observations(group))
            for first, group in groupby(settled, key=lambda row: int(row.first_sequence))
        }
        for row in rows:
            day = date.fromordinal(row.first_day)
            if not is_of_season(row.game_id, day):
                continue
            yield SettledGame(
                sequence=row.first_sequence,
                game_id=row.game_id,
                horizon=Horizon(row.horizon),
                differential=row.differential,
                home_team=row.home_team,
                away_team=row.away_team,
                day=day,
                observations=observations.get(row.first_sequence, ()),
            )
        sequence = last


def read_snapshot(connection: Connection, part: str, before: int) -> tuple[int, bytes] | None:
    """Returns sequence and state of the newest snapshot before a sequence; None if there is none."""
    row = connection.execute(_SNAPSHOT, {"part": part, "before": before}).one_or_none()
    return None if row is None else (row.sequence, row.state)


def write_snapshot(connection: Connection, part: str, sequence: int, state: bytes, *, read_at: int) -> None:
    """Writes a snapshot, unless an outcome that it includes was corrected after its input was read.

    A stored snapshot is replaced only if it differs, because it was damaged or written by another release.

    Args:
        connection: in a transaction that holds the write lock.
        part: which state it holds (INTERVALS).
        sequence: sequence of the last outcome that it includes.
        state: the serialized state.
        read_at: sequence of the newest outcome when its input was read.
    """
    corrected = corrected_since(connection, read_at)
    if corrected is not None and corrected <= sequence:
        return
    stored = connection.execute(_SNAPSHOT_AT, {"of_part": part, "at": sequence}).scalar()
    if stored is None:
        connection.execute(_ADD_SNAPSHOT, {"part": part, "sequence": sequence, "state": state})
    elif stored != state:
        connection.execute(_REPLACE_SNAPSHOT, {"of_part": part, "at": sequence, "new_state": state})


def drop_snapshots(connection: Connection, first_sequence: int) -> None:
    """Deletes the snapshots that include a corrected outcome, given the sequence of its first report."""
    connection.execute(_DROP_SNAPSHOTS, {"place": first_sequence})


def _observations(rows: Iterable[Any]) -> Iterator[Observation]:
    """Yields one observation for each model version and quarter, of the first forecast in this order of preference.

    No pregame_margin in the request, nearest to the quarter's middle minute, earlier minute, recorded earlier.
    """

    def order(row: Any) -> tuple[Any, ...]:
        quarter = quarter_of(row.minute)
        return (
            row.model_version,
            quarter,
            row.margin_given,
            abs(row.minute - QUARTER_MIDPOINTS[quarter]),
            row.minute,
            row.forecast_sequence,
        )

    def key(row: Any) -> TrackerKey:
        return TrackerKey(row.model_version, Horizon(row.horizon), quarter_of(row.minute))

    for tracker, candidates in groupby(sorted(rows, key=order), key=key):
        yield Observation(tracker, float(next(candidates).score))


_COMPETITIVE = func.substr(outcomes.c.game_id, 1, 3).in_(sorted(COMPETITIVE))

_NEWEST = select(func.max(outcomes.c.sequence)).where(_COMPETITIVE)

_CORRECTED = select(func.min(outcomes.c.first_sequence)).where(
    outcomes.c.sequence > bindparam("sequence"),
    outcomes.c.first_sequence <= bindparam("sequence"),
    _COMPETITIVE,
)

_FIRST_REPORTS = select(outcomes.c.game_id, outcomes.c.day).where(
    outcomes.c.first_sequence <= bindparam("place"), outcomes.c.revision == 0, _COMPETITIVE
)

_later = outcomes.alias("later")

_FIRST_SEQUENCES = (
    select(outcomes.c.first_sequence)
    .where(outcomes.c.first_sequence > bindparam("place"), outcomes.c.revision == 0, _COMPETITIVE)
    .order_by(outcomes.c.first_sequence)
    .limit(bindparam("limit"))
)

_first = outcomes.alias("first")

_OUTCOMES = (
    select(outcomes, _first.c.day.label("first_day"))
    .join(_first, _first.c.sequence == outcomes.c.first_sequence)
    .where(
        outcomes.c.first_sequence.in_(_FIRST_SEQUENCES),
        outcomes.c.revision
        == select(func.max(_later.c.revision))
        .where(_later.c.first_sequence == outcomes.c.first_sequence)
        .scalar_subquery(),
    )
    .order_by(outcomes.c.first_sequence)
)

_SETTLED = (
    select(
        settlements.c.first_sequence,
        settlements.c.forecast_sequence,
        settlements.c.horizon,
        settlements.c.minute,
        settlements.c.model_version,
        settlements.c.score,
        forecasts.c.margin_given,
    )
    .join(forecasts, forecasts.c.sequence == settlements.c.forecast_sequence)
    .where(
        settlements.c.first_sequence > bindparam("after"),
        settlements.c.first_sequence <= bindparam("last"),
        settlements.c.superseded.is_(False),
        settlements.c.late == "",
        settlements.c.replay.is_(False),
        settlements.c.score.is_not(None),
    )
    .order_by(settlements.c.first_sequence)
)

_SNAPSHOT = (
    select(snapshots.c.sequence, snapshots.c.state)
    .where(snapshots.c.part == bindparam("part"), snapshots.c.sequence < bindparam("before"))
    .order_by(snapshots.c.sequence.desc())
    .limit(1)
)

_ONE_SNAPSHOT = (snapshots.c.part == bindparam("of_part")) & (snapshots.c.sequence == bindparam("at"))
_SNAPSHOT_AT = select(snapshots.c.state).where(_ONE_SNAPSHOT)
_ADD_SNAPSHOT = insert(snapshots)
_REPLACE_SNAPSHOT = update(snapshots).where(_ONE_SNAPSHOT).values(state=bindparam("new_state"))

_DROP_SNAPSHOTS = delete(snapshots).where(snapshots.c.sequence >= bindparam("place"))
