"""Reads the revisions of forecasts and outcomes beside those before them, for verification."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, select

from dejavu_server.ledger.database.canonical_value import canonical_text
from dejavu_server.ledger.database.schema import entries, forecasts, outcomes


class Revision(NamedTuple):
    """A revision other than 0, and those that it revises.

    Attributes:
        sequence, revision: of its entry.
        content: what a revision changes: of a forecast pattern and teams, of an outcome differential, teams and
            whether it is withdrawn.
        game_date: date of the game that a forecast was requested with (ISO 8601), which a revision may change too; None
            if it had none, and for outcomes.
        late: whether it is marked as late; never for an outcome.
        before_sequence, before, before_day: sequence, content and day of the game of the revision before it; None if
            there is none. The day is the date of its request, or the day on which it was made.
        in_time, in_time_day: content and day of the newest revision before it that is not marked as late; None if there
            is none.
        has_earlier: whether there is any revision before it.
    """

    sequence: int
    revision: int
    content: tuple[Any, ...]
    late: bool
    before_sequence: int | None
    before: tuple[Any, ...]
    in_time: tuple[Any, ...] | None
    has_earlier: bool
    game_date: str | None = None
    before_day: str | None = None
    in_time_day: str | None = None


def forecast_revisions(connection: Connection) -> Iterator[Revision]:
    """Yields the revisions of forecasts, from the rows derived from their entries."""
    for row in connection.execute(_FORECASTS):
        content, before, in_time = tuple(row[3:6]), tuple(row[7:10]), tuple(row[11:14])
        in_time_content = in_time if row[10] else None
        days = _day(row[16], row[17]), _day(row[18], row[19])
        yield Revision(row[0], row[1], content, row[2] != "", row[6], before, in_time_content, row[14], row[15], *days)


def outcome_revisions(connection: Connection) -> Iterator[Revision]:
    """Yields the revisions of outcomes, from the rows derived from their entries."""
    for row in connection.execute(_OUTCOMES):
        yield Revision(row[0], row[1], tuple(row[2:6]), False, row[6], tuple(row[7:11]), None, row[11])


def withdrawals_of_nothing(connection: Connection) -> Iterator[int]:
    """Yields the sequences of outcomes that are withdrawn by their first report."""
    yield from connection.execute(_WITHDRAWN_AT_FIRST).scalars()


_before = forecasts.alias("before")
_earlier = forecasts.alias("earlier")
_in_time = forecasts.alias("in_time")
_other = forecasts.alias("other")
_before_outcome = outcomes.alias("before_outcome")
_earlier_outcome = outcomes.alias("earlier_outcome")


def _game_date(sequence: ColumnElement[int]) -> ColumnElement[str | None]:
    """Returns the date of the game of the forecast at a sequence, from its entry: no row has it."""
    text = canonical_text(entries.c.canonical, "payload", "request", "game_date")
    return select(text).where(entries.c.sequence == sequence).scalar_subquery()


def _day(game_date: str | None, generated: int | None) -> str | None:
    """Returns the day of a game (ISO 8601): as requested, or the day (an ordinal) on which the forecast was made."""
    return game_date if game_date or generated is None else date.fromordinal(generated).isoformat()


def _forecasts() -> Select[Any]:
    of_key = and_(_other.c.key == forecasts.c.key, _other.c.revision < forecasts.c.revision, _other.c.late == "")
    newest_in_time = select(func.max(_other.c.revision)).where(of_key).scalar_subquery()
    return (
        select(
            *(forecasts.c.sequence, forecasts.c.revision, forecasts.c.late),
            *(forecasts.c.pattern, forecasts.c.home_team, forecasts.c.away_team),
            *(_before.c.sequence, _before.c.pattern, _before.c.home_team, _before.c.away_team),
            *(_in_time.c.sequence, _in_time.c.pattern, _in_time.c.home_team, _in_time.c.away_team),
            exists().where(_earlier.c.key == forecasts.c.key, _earlier.c.revision < forecasts.c.revision),
            _game_date(forecasts.c.sequence),
            *(_game_date(_before.c.sequence), _before.c.day, _game_date(_in_time.c.sequence), _in_time.c.day),
        )
        .select_from(forecasts)
        .outerjoin(_before, and_(_before.c.key == forecasts.c.key, _before.c.revision == forecasts.c.revision - 1))
        .outerjoin(_in_time, and_(_in_time.c.key == forecasts.c.key, _in_time.c.revision == newest_in_time))
        .where(forecasts.c.revision != 0)
    )


def _outcomes() -> Select[Any]:
    before, earlier = _before_outcome.c, _earlier_outcome.c
    same = and_(before.game_id == outcomes.c.game_id, before.horizon == outcomes.c.horizon)
    same_earlier = and_(earlier.game_id == outcomes.c.game_id, earlier.horizon == outcomes.c.horizon)
    return (
        select(
            *(outcomes.c.sequence, outcomes.c.revision),
            *(outcomes.c.differential, outcomes.c.home_team, outcomes.c.away_team, outcomes.c.withdrawn),
            *(before.sequence, before.differential, before.home_team, before.away_team, before.withdrawn),
            exists().where(same_earlier, earlier.revision < outcomes.c.revision),
        )
        .select_from(outcomes)
        .outerjoin(_before_outcome, and_(same, before.revision == outcomes.c.revision - 1))
        .where(outcomes.c.revision != 0)
    )


_FORECASTS = _forecasts()

_OUTCOMES = _outcomes()

_WITHDRAWN_AT_FIRST = select(outcomes.c.sequence).where(outcomes.c.revision == 0, outcomes.c.withdrawn)
