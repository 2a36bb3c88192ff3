"""Pages of recorded forecasts, newest first: bounded work per page, and one consistent state over all pages of a list.

A page scans the index that fits the filter, from where the previous page ended. It scans at most MAX_ROWS_SCANNED
forecasts, so it may be short or empty before the last page.

A token contains the position of the next page and the head of the ledger at the first page. The list is evaluated as of
that head: a forecast that is settled or revised between two pages is neither skipped nor returned twice.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, bindparam, exists, false, literal, or_, select, true

from dejavu_ledger.database import store
from dejavu_ledger.database.schema import forecasts, outcomes
from dejavu_ledger.database.standing import in_time
from dejavu_ledger.entries import canonical_json
from dejavu_ledger.queries import page_tokens, predictions
from dejavu_ledger.queries.filters import KEPT_FILTERS, CommonFilter, unindexed
from dejavu_ledger.queries.page_tokens import DIGEST_BYTES, Cursor, PageCursor
from dejavu_ledger.records import RecordedForecast
from dejavu_models.types import Horizon

MAX_ROWS_SCANNED = 1000
"""Maximum number of forecasts that a page reads on each of its index scans; a quarter of it on each of a team's two.

A team's forecasts are scattered over the file, so each one costs a page read.
"""

_LAST_DAY = 10_000_000  # beyond any date
_NO_DAY = -2


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastFilter(CommonFilter):
    """Selects forecasts to list; a field with its default value sets no condition.

    Attributes:
        settled: True: only settled forecasts; False: only unsettled ones.
        superseded: also include revisions that a later one, recorded in time, replaced.
    """

    settled: bool | None = None
    minute: int | None = None
    superseded: bool = False

    @property
    def by_day(self) -> bool:
        """Whether the filter bounds the day."""
        return self.first_day is not None or self.last_day is not None

    @property
    def digest(self) -> bytes:
        """Digest that identifies the filter in page tokens; fields with default values do not count."""
        given = [
            [each.name, getattr(self, each.name)] for each in fields(self) if getattr(self, each.name) != each.default
        ]
        text = canonical_json.dumps(
            [[name, value.value if isinstance(value, Horizon) else value] for name, value in given]
        )
        return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()


class Page(NamedTuple):
    """A page, and the token of the next one; empty if there is none."""

    forecasts: list[RecordedForecast]
    next_token: str


def page(connection: Connection, filter_: ForecastFilter, token: str, size: int, *, explanation: bool = False) -> Page:
    """Return a page of forecasts in descending order.

    Orders by sequence; by day and sequence if the filter bounds the day and names no game.

    Args:
        connection: a read connection.
        filter_: the filter.
        token: token from the previous page; empty for the first page.
        size: maximum number of forecasts on the page.
        explanation: whether to read their explanations.

    Raises:
        InvalidPageToken: if the token is malformed, or of another ledger or filter.
        LedgerCorrupt: if an entry cannot be read back.
    """
    identity = store.identity(connection)
    if token:
        cursor = page_tokens.decode(token, identity, filter_.digest)
    else:
        start = store.head(connection).sequence
        cursor = PageCursor(start, Cursor(_LAST_DAY, start + 1))
    if filter_.first_day is not None and filter_.last_day is not None and filter_.first_day > filter_.last_day:
        return Page([], "")  # the scan of the page's first day has no lower bound
    matches, end = _find_page(connection, filter_, cursor, size)
    recorded = predictions.forecasts_at(connection, [match.sequence for match in matches], explanation=explanation)
    return Page(
        recorded, "" if end is None else page_tokens.encode(identity, filter_.digest, PageCursor(cursor.start, end))
    )


def _find_page(
    connection: Connection, filter_: ForecastFilter, cursor: PageCursor, size: int
) -> tuple[list[Cursor], Cursor | None]:
    """Return the positions of a page, and the one below which the next page starts; None if there is no next page."""
    floor_scans, match_scans = _index_scans(filter_)
    values = _values(filter_, cursor)
    floors = [connection.execute(scan.floor, {**values, "last": _last(scan)}).one_or_none() for scan in floor_scans]
    # With several scans, the page ends at the highest floor: above it, every scan is complete.
    floor = max((Cursor(*row) for row in floors if row is not None), default=None)
    values |= _floor_values(values, floor) | {"limit": size + 1}
    conditions = _conditions(filter_)
    matches = {Cursor(*row) for scan in match_scans for row in connection.execute(_matches(scan, conditions), values)}
    ordered = sorted(matches, reverse=True)
    return (ordered[:size], ordered[size - 1]) if len(ordered) > size else (ordered, floor)


_f = forecasts.c
_BEFORE = _f.sequence < bindparam("before")
_START = _f.sequence <= bindparam("start")
_ABOVE_FLOOR = _f.sequence >= bindparam("floor")


class _IndexScan:
    """A scan of an index of the forecasts, or of a part of it, from where the page starts.

    Attributes:
        rows: selects its forecasts, by day and sequence or by sequence alone.
        floor: selects the last forecast that a page may read on it; no row if it ends earlier.
        above_floor: condition for rows at or above the floor of the page.
    """

    def __init__(
        self, condition: ColumnElement[bool], above_floor: ColumnElement[bool] = _ABOVE_FLOOR, *, by_day: bool = False
    ) -> None:
        columns = (_f.day, _f.sequence) if by_day else (literal(0), _f.sequence)
        order = (_f.day.desc(), _f.sequence.desc()) if by_day else (_f.sequence.desc(),)
        self.rows: Select[int, int] = select(*columns).where(condition).order_by(*order)
        self.floor = self.rows.limit(1).offset(bindparam("last"))
        self.above_floor = above_floor


_SEQUENCE = _IndexScan(_BEFORE)
_MODEL = _IndexScan((_f.model_version == bindparam("model")) & _BEFORE)
_HOME = _IndexScan((_f.home_team == bindparam("team")) & _BEFORE)
_AWAY = _IndexScan((_f.away_team == bindparam("team")) & _BEFORE)
_GAME = {
    horizon: _IndexScan((_f.game_id == bindparam("game")) & (_f.horizon == horizon.value) & _BEFORE)
    for horizon in Horizon
}
# The day on which the page starts; the days before it; the days between it and the day of the floor; the latter day.
_DAY = _IndexScan((_f.day == bindparam("before_day")) & _BEFORE, _f.sequence >= bindparam("day_floor"), by_day=True)
_DAYS_BEFORE = _IndexScan((_f.day >= bindparam("first_day")) & (_f.day < bindparam("before_day")) & _START, by_day=True)
_DAYS_BETWEEN = _IndexScan(
    (_f.day > bindparam("floor_day")) & (_f.day < bindparam("before_day")) & _START, true(), by_day=True
)
_DAY_OF_FLOOR = _IndexScan((_f.day == bindparam("other_floor_day")) & _START, by_day=True)


def _index_scans(filter_: ForecastFilter) -> tuple[tuple[_IndexScan, ...], tuple[_IndexScan, ...]]:
    """Return the index scans that cover the filter with the fewest extra rows: for the floor, and for the matches."""
    scans: tuple[_IndexScan, ...]
    if filter_.game_id:
        scans = tuple(scan for horizon, scan in _GAME.items() if filter_.horizon in {None, horizon})
    elif filter_.by_day:
        return (_DAY, _DAYS_BEFORE), (_DAY, _DAYS_BETWEEN, _DAY_OF_FLOOR)
    elif filter_.team:
        scans = (_HOME, _AWAY)
    else:
        scans = (_MODEL,) if filter_.model_version else (_SEQUENCE,)
    return scans, scans


def _last(scan: _IndexScan) -> int:
    """Return the offset of the last forecast that a page reads on a scan."""
    return max(MAX_ROWS_SCANNED // 4 if scan in {_HOME, _AWAY} else MAX_ROWS_SCANNED, 1) - 1


_later = forecasts.alias("later")
_later_outcome = outcomes.alias("later_outcome")
_settled = exists().where(
    outcomes.c.game_id == _f.game_id,
    outcomes.c.horizon == _f.horizon,
    outcomes.c.sequence <= bindparam("start"),
    outcomes.c.withdrawn.is_(False),
    ~exists().where(
        _later_outcome.c.game_id == outcomes.c.game_id,
        _later_outcome.c.horizon == outcomes.c.horizon,
        _later_outcome.c.revision > outcomes.c.revision,
        _later_outcome.c.sequence <= bindparam("start"),
    ),
)


# `_index_scans` chooses the index.
_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "horizon": unindexed(_f.horizon) == bindparam("horizon"),
    "days": unindexed(_f.day).between(bindparam("first_day"), bindparam("last_day")),
    "team": or_(unindexed(_f.home_team) == bindparam("team"), unindexed(_f.away_team) == bindparam("team")),
    "model": unindexed(_f.model_version) == bindparam("model"),
    "minute": _f.minute == bindparam("minute"),
    "confidence": _f.confidence >= bindparam("confidence"),
    "real": _f.replay == false(),
    "settled": _settled,
    "unsettled": ~_settled,
    "newest": ~exists().where(
        _later.c.key == _f.key,
        _later.c.revision > _f.revision,
        in_time(_later, bindparam("start")),
        _later.c.sequence <= bindparam("start"),
    ),
}


def _conditions(filter_: ForecastFilter) -> frozenset[str]:
    """Return the names of a filter's conditions, except those of the scan."""
    given = {
        "days": filter_.by_day and filter_.game_id != "",
        "minute": filter_.minute is not None,
        "real": filter_.real_only,
        "settled": filter_.settled is True,
        "unsettled": filter_.settled is False,
        "newest": not filter_.superseded,
    }
    names = {*filter_.parameters(), *(name for name, applies in given.items() if applies)}
    return frozenset(names & _CONDITIONS.keys())


def _values(filter_: ForecastFilter, cursor: PageCursor) -> dict[str, object]:
    last_day = _LAST_DAY if filter_.last_day is None else filter_.last_day
    return {
        **filter_.parameters(),
        "start": cursor.start,
        "before_day": min(cursor.before.day, last_day),
        "before": cursor.before.sequence,
        "first_day": 0 if filter_.first_day is None else filter_.first_day,
        "last_day": last_day,
        "minute": filter_.minute,
    }


def _floor_values(values: dict[str, Any], floor: Cursor | None) -> dict[str, int]:
    """Return the lower bounds of a page; without a floor, only the first day bounds it."""
    if floor is None:
        return {"floor": 0, "day_floor": 0, "floor_day": values["first_day"] - 1, "other_floor_day": _NO_DAY}
    same = floor.day == values["before_day"]
    return {
        "floor": floor.sequence,
        "day_floor": floor.sequence if same else 0,
        "floor_day": floor.day,
        "other_floor_day": _NO_DAY if same else floor.day,
    }


# Cached for each shape: building a statement takes SQLAlchemy longer than running it.
@lru_cache(KEPT_FILTERS)
def _matches(scan: _IndexScan, conditions: frozenset[str]) -> Select[int, int]:
    """Select the forecasts of a scan that meet the conditions, down to the floor."""
    # Subqueries come last, so that they run only for rows that meet all other conditions.
    named = [condition for name, condition in _CONDITIONS.items() if name in conditions]
    return scan.rows.where(scan.above_floor, *named).limit(bindparam("limit"))
