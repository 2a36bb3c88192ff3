"""Reads the revisions of forecasts and outcomes with their predecessors, for verification."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select

from dejavu_feed.live_inputs import LIVE_INPUTS
from dejavu_ledger.database.canonical_value import canonical_text
from dejavu_ledger.database.schema import entries, forecasts, outcomes

_NOTHING_GIVEN: Final = (None,) * (2 + len(LIVE_INPUTS))


class Revision(NamedTuple):
    """A revision other than 0, and those that it revises.

    Attributes:
        sequence, revision: of its entry.
        content: its required values: pattern and teams of a forecast; differential, teams and withdrawal of an outcome.
        given: its optional values: date of the game (ISO 8601), moment and live inputs of the request of a forecast;
            total points and box score of an outcome. None for each that is missing.
        late: whether it is marked as late; never for an outcome.
        before_sequence, before, before_given: sequence, content and optional values of the revision before it; None if
            there is none. A missing date is replaced by the day of the forecast.
        in_time, in_time_given: the same of the newest revision before it that is not marked as late; None if there is
            none.
    """

    sequence: int
    revision: int
    content: tuple[Any, ...]
    late: bool
    before_sequence: int | None
    before: tuple[Any, ...]
    in_time: tuple[Any, ...] | None
    given: tuple[Any, ...] = _NOTHING_GIVEN
    before_given: tuple[Any, ...] = _NOTHING_GIVEN
    in_time_given: tuple[Any, ...] = _NOTHING_GIVEN

    @property
    def repeats_before(self) -> bool:
        """Whether it changes nothing compared with the revision before it."""
        return self.content == self.before and self._agrees(self.before_given)

    @property
    def repeats_in_time(self) -> bool:
        """Whether it changes nothing compared with the newest revision before it that is not marked as late."""
        return self.content == self.in_time and self._agrees(self.in_time_given)

    def _agrees(self, other: tuple[Any, ...]) -> bool:
        return all(given is None or given == stored for given, stored in zip(self.given, other, strict=True))


def forecast_revisions(connection: Connection) -> Iterator[Revision]:
    """Yield the revisions of forecasts, from the rows derived from their entries."""
    for row in connection.execute(_FORECASTS):
        content, before, in_time = tuple(row[3:6]), tuple(row[7:10]), tuple(row[11:14])
        in_time_content = in_time if row[10] else None
        given = _given(row[14], None), _given(row[15], row[16]), _given(row[17], row[18])
        yield Revision(row[0], row[1], content, row[2] != "", row[6], before, in_time_content, *given)


def outcome_revisions(connection: Connection) -> Iterator[Revision]:
    """Yield the revisions of outcomes, from the rows derived from their entries."""
    for row in connection.execute(_OUTCOMES):
        given, before_given = ((*_NOTHING_GIVEN[2:], *values) for values in (row[11:15:2], row[12:15:2]))
        before = tuple(row[7:11])
        yield Revision(row[0], row[1], tuple(row[2:6]), False, row[6], before, None, given, before_given)


def withdrawals_of_nothing(connection: Connection) -> Iterator[int]:
    """Yield the sequences of outcomes that are withdrawn by their first report."""
    yield from connection.execute(_WITHDRAWN_AT_FIRST).scalars()


_before = forecasts.alias("before")
_in_time = forecasts.alias("in_time")
_other = forecasts.alias("other")
_before_outcome = outcomes.alias("before_outcome")


def _request(sequence: ColumnElement[int]) -> ColumnElement[str | None]:
    """Return the request of the forecast at a sequence as JSON, from its entry, since no row contains all of it."""
    text = canonical_text(entries.c.canonical, "payload", "request")
    return select(text).where(entries.c.sequence == sequence).scalar_subquery()


def _given(request: str | None, generated: int | None) -> tuple[Any, ...]:
    """Return date, moment and live inputs of a request; without a date the day (an ordinal) of the forecast."""
    if request is None:
        return _NOTHING_GIVEN
    fields = json.loads(request)
    day = None if generated is None else date.fromordinal(generated).isoformat()
    if "moment" in fields:  # its possession is compared also if it is missing
        fields.setdefault("possession", "")
    return fields.get("game_date") or day, fields.get("moment"), *(fields.get(each.name) for each in LIVE_INPUTS)


def _forecasts() -> Select[Any]:
    of_key = and_(_other.c.key == forecasts.c.key, _other.c.revision < forecasts.c.revision, _other.c.late == "")
    newest_in_time = select(func.max(_other.c.revision)).where(of_key).scalar_subquery()
    return (
        select(
            *(forecasts.c.sequence, forecasts.c.revision, forecasts.c.late),
            *(forecasts.c.pattern, forecasts.c.home_team, forecasts.c.away_team),
            *(_before.c.sequence, _before.c.pattern, _before.c.home_team, _before.c.away_team),
            *(_in_time.c.sequence, _in_time.c.pattern, _in_time.c.home_team, _in_time.c.away_team),
            _request(forecasts.c.sequence),
            *(_request(_before.c.sequence), _before.c.day, _request(_in_time.c.sequence), _in_time.c.day),
        )
        .select_from(forecasts)
        .outerjoin(_before, and_(_before.c.key == forecasts.c.key, _before.c.revision == forecasts.c.revision - 1))
        .outerjoin(_in_time, and_(_in_time.c.key == forecasts.c.key, _in_time.c.revision == newest_in_time))
        .where(forecasts.c.revision != 0)
    )


def _outcomes() -> Select[Any]:
    before = _before_outcome.c
    same = and_(before.game_id == outcomes.c.game_id, before.horizon == outcomes.c.horizon)
    return (
        select(
            *(outcomes.c.sequence, outcomes.c.revision),
            *(outcomes.c.differential, outcomes.c.home_team, outcomes.c.away_team, outcomes.c.withdrawn),
            *(before.sequence, before.differential, before.home_team, before.away_team, before.withdrawn),
            *(outcomes.c.total_points, before.total_points, outcomes.c.players, before.players),
        )
        .select_from(outcomes)
        .outerjoin(_before_outcome, and_(same, before.revision == outcomes.c.revision - 1))
        .where(outcomes.c.revision != 0)
    )


_FORECASTS = _forecasts()

_OUTCOMES = _outcomes()

_WITHDRAWN_AT_FIRST = select(outcomes.c.sequence).where(outcomes.c.revision == 0, outcomes.c.withdrawn)
