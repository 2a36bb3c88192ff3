"""What the ledger's outcomes teach: one lesson a game, horizon and stage, in the order in which outcomes came first.

A corrected outcome keeps the place of its first report, so that what follows from it is a function of the ledger alone:
whoever has read as far has learned the same. Games of replays teach nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from dejavu_models.types import Horizon
from dejavu_models.uncertainty.adaptive import QUARTER_MIDPOINTS, Observation, TrackerKey, quarter_of
from dejavu_server.ledger.database.schema import forecasts, outcomes, settlements, snapshots

PAGE = 200
"""How many outcomes are read at once."""

INTERVALS = "intervals"
"""The part of the snapshots that holds the state of the intervals; there is no other."""

GIVEN_MARGIN = "null]"
"""How the key of a forecast ends that no pregame_margin was given with (see canonical.draft)."""


@dataclass(frozen=True, slots=True)
class SettledGame:
    """A horizon of a game that came, as its newest revision has it.

    Attributes:
        place: the sequence of its first report.
        differential: home − away, in points.
        home_team, away_team: NBA codes; empty where not told.
        day: local date of the game, by its first report: a correction may come weeks later.
        lessons: how the forecasts fared that are learned from: at most one of each model version and stage.
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
    """The sequence of the newest outcome that teaches; 0 while there is none."""
    found: int | None = connection.execute(_NEWEST).scalar_one()
    return found or 0


def corrected_since(connection: Connection, sequence: int) -> int | None:
    """The earliest place, up to a sequence, of an outcome that was corrected after it; None if there is none."""
    found: int | None = connection.execute(_CORRECTED, {"sequence": sequence}).scalar_one()
    return found


def count(connection: Connection, place: int) -> int:
    """How many outcomes teach that were first reported up to a place."""
    found: int = connection.execute(_COUNT, {"place": place}).scalar_one()
    return found


def settled_games_after(connection: Connection, place: int, *, lessons: bool = True) -> Iterator[SettledGame]:
    """The outcomes that were first reported after a place, in order, each as its newest revision has it.

    Args:
        connection: one that reads.
        place: a sequence.
        lessons: whether to read them too, which takes far longer than all else.
    """
    while rows := connection.execute(_OUTCOMES, {"place": place, "limit": PAGE}).all():
        last = rows[-1].first_sequence
        settled = connection.execute(_SETTLED, {"after": place, "last": last}).all() if lessons else ()
        learned = {
            first: tuple(_lessons(group)) for first, group in groupby(settled, key=lambda row: int(row.first_sequence))
        }
        for row in rows:
            yield SettledGame(
                sequence=row.first_sequence,
                game_id=row.game_id,
                horizon=Horizon(row.horizon),
                differential=row.differential,
                home_team=row.home_team,
                away_team=row.away_team,
                day=date.fromordinal(row.first_day),
                observations=learned.get(row.first_sequence, ()),
            )
        place = last


def read_snapshot(connection: Connection, part: str, before: int) -> tuple[int, bytes] | None:
    """The newest snapshot taken before a place: where, and what; None if there is none."""
    row = connection.execute(_SNAPSHOT, {"part": part, "before": before}).one_or_none()
    return None if row is None else (row.sequence, row.state)


def write_snapshot(connection: Connection, part: str, place: int, state: bytes, *, read_at: int) -> None:
    """Keeps a snapshot, unless an outcome up to its place was corrected since what went into it was read.

    One that is there already stays, but for one that is another: it was damaged, or another release made it.

    Args:
        connection: in a transaction that holds the write lock.
        part: of what.
        place: the last place that went into it.
        state: what it is.
        read_at: the newest outcome when what went into it was read.
    """
    corrected = corrected_since(connection, read_at)
    if corrected is not None and corrected <= place:
        return
    connection.execute(_ADD_SNAPSHOT, {"part": part, "sequence": place, "state": state})


def drop_snapshots(connection: Connection, place: int) -> None:
    """Removes the snapshots that an outcome first reported at a place went into: it was corrected."""
    connection.execute(_DROP_SNAPSHOTS, {"place": place})


def _lessons(rows: Iterable[Any]) -> Iterator[Observation]:
    """Of each model version and stage, the forecast nearest to the stage's middle minute.

    Without a pregame_margin of somebody's own if there is one, then the earlier minute, then the one recorded first.
    """

    def order(row: Any) -> tuple[Any, ...]:
        stage = quarter_of(row.minute)
        given = not row.key.endswith(GIVEN_MARGIN)
        return (
            row.model_version,
            stage,
            given,
            abs(row.minute - QUARTER_MIDPOINTS[stage]),
            row.minute,
            row.forecast_sequence,
        )

    def key(row: Any) -> TrackerKey:
        return TrackerKey(row.model_version, Horizon(row.horizon), quarter_of(row.minute))

    for its, candidates in groupby(sorted(rows, key=order), key=key):
        yield Observation(its, float(next(candidates).score))


_TEACHES = outcomes.c.replay.is_(False)

_NEWEST = select(func.max(outcomes.c.sequence)).where(_TEACHES)

_CORRECTED = select(func.min(outcomes.c.first_sequence)).where(
    outcomes.c.sequence > bindparam("sequence"),
    outcomes.c.first_sequence <= bindparam("sequence"),
    _TEACHES,
)

_COUNT = select(func.count()).where(outcomes.c.first_sequence <= bindparam("place"), outcomes.c.revision == 0, _TEACHES)

_later = outcomes.alias("later")

_FIRST_PLACES = (
    select(outcomes.c.first_sequence)
    .where(outcomes.c.first_sequence > bindparam("place"), outcomes.c.revision == 0, _TEACHES)
    .order_by(outcomes.c.first_sequence)
    .limit(bindparam("limit"))
)

_first = outcomes.alias("first")

_OUTCOMES = (
    select(outcomes, _first.c.day.label("first_day"))
    .join(_first, _first.c.sequence == outcomes.c.first_sequence)
    .where(
        outcomes.c.first_sequence.in_(_FIRST_PLACES),
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
        forecasts.c.key,
    )
    .join(forecasts, forecasts.c.sequence == settlements.c.forecast_sequence)
    .where(
        settlements.c.first_sequence > bindparam("after"),
        settlements.c.first_sequence <= bindparam("last"),
        settlements.c.superseded.is_(False),
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

_snapshot = insert(snapshots)
_ADD_SNAPSHOT = _snapshot.on_conflict_do_update(
    index_elements=[snapshots.c.part, snapshots.c.sequence],
    set_={"state": _snapshot.excluded.state},
    where=snapshots.c.state != _snapshot.excluded.state,
)

_DROP_SNAPSHOTS = delete(snapshots).where(snapshots.c.sequence >= bindparam("place"))
