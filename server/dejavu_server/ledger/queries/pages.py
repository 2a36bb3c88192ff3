"""Pages of recorded forecasts, newest first: bounded work a page, and a walk over them that tells one state.

A page goes through the forecasts by the index that fits what was asked for, from where the page before ended, and looks
at no more than LOOKED_AT of them: it may be short, or empty, before the last one.

A token holds where to go on, and the head of the ledger when the first page was asked for. Which forecasts a walk tells
is decided as of then: one that is settled, or revised, while pages are turned is neither passed over nor told twice.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, bindparam, exists, false, func, literal, or_, select, true

from dejavu_models.types import Horizon
from dejavu_server.ledger.database import store
from dejavu_server.ledger.database.schema import forecasts, settlements
from dejavu_server.ledger.entries import codec
from dejavu_server.ledger.queries import page_tokens, predictions
from dejavu_server.ledger.queries.page_tokens import DIGEST_BYTES, Cursor, PageCursor
from dejavu_server.records import RecordedForecast

MAX_ROWS_SCANNED = 1000
"""The most forecasts that one page looks at: on each of its ways, but a quarter of them for each side of a team.

A team's forecasts lie far apart, so that each takes a page of the file to be read.
"""

_LAST_DAY = 10_000_000  # beyond any date
_NO_DAY = -2


@dataclass(frozen=True, slots=True)
class ForecastFilter:
    """Which forecasts are wanted; what is left as it is asks for nothing.

    Attributes:
        first_day, last_day: of the game, as `date.toordinal()`.
        team: NBA code, home or away.
        min_confidence: least probability of the likelier side.
        settled: True: only settled ones; False: only others.
        superseded: earlier revisions too.
        replays: games of replays too, also without a game_id.
    """

    game_id: str = ""
    horizon: Horizon | None = None
    first_day: int | None = None
    last_day: int | None = None
    team: str = ""
    min_confidence: float | None = None
    settled: bool | None = None
    model_version: str = ""
    minute: int | None = None
    superseded: bool = False
    replays: bool = False

    @property
    def by_day(self) -> bool:
        """Whether days are given."""
        return self.first_day is not None or self.last_day is not None

    @property
    def digest(self) -> bytes:
        """What tells filters apart, in page tokens; what a filter leaves open does not count."""
        given = [
            [each.name, getattr(self, each.name)] for each in fields(self) if getattr(self, each.name) != each.default
        ]
        told = codec.dumps([[name, value.value if isinstance(value, Horizon) else value] for name, value in given])
        return hashlib.blake2b(told.encode(), digest_size=DIGEST_BYTES).digest()


class Page(NamedTuple):
    """A page, and the token of the next one; empty: there is none."""

    forecasts: list[RecordedForecast]
    next_token: str


def page(connection: Connection, wanted: ForecastFilter, token: str, size: int) -> Page:
    """A page of forecasts: by sequence, or by day and then sequence where days are given; descending.

    Args:
        connection: one that reads.
        wanted: which forecasts.
        token: of the page before; empty for the first.
        size: the most forecasts of the page.

    Raises:
        InvalidPageToken: if the token is none, or of another ledger or filter.
        LedgerCorrupt: if an entry cannot be read back.
    """
    kept = store.identity(connection)
    if token:
        walk = page_tokens.decode(token, kept, wanted.digest)
    else:
        start = store.head(connection).sequence
        walk = PageCursor(start, Cursor(_LAST_DAY, start + 1))
    found, end = _find(connection, wanted, walk, size)
    told = predictions.at(connection, [place.sequence for place in found])
    return Page(told, "" if end is None else page_tokens.encode(kept, wanted.digest, PageCursor(walk.start, end)))


def _find(
    connection: Connection, wanted: ForecastFilter, walk: PageCursor, size: int
) -> tuple[list[Cursor], Cursor | None]:
    """The places of a page, and the one that the next page goes on before; None if there is no next page."""
    looking, found_on = _index_scans(wanted)
    values = _values(wanted, walk)
    floors = [connection.execute(_floor(way), {**values, "last": _last(way)}).one_or_none() for way in looking]
    # Where several ways lead, as far as all of them were gone.
    floor = max((Cursor(*row) for row in floors if row is not None), default=None)
    values |= _floor_values(values, floor) | {"limit": size + 1}
    conditions = _conditions(wanted)
    found = {Cursor(*row) for way in found_on for row in connection.execute(_matches(way, conditions), values)}
    told = sorted(found, reverse=True)
    return (told[:size], told[size - 1]) if len(told) > size else (told, floor)


class _IndexScan(enum.Enum):
    """A way through the forecasts along an index, or a part of one."""

    PLACE = enum.auto()
    GAME_HALFTIME = enum.auto()
    GAME_FINAL = enum.auto()
    HOME = enum.auto()
    AWAY = enum.auto()
    MODEL = enum.auto()
    DAY = enum.auto()
    """The day on which the list goes on."""
    DAYS_BEFORE = enum.auto()
    """The days before it."""
    DAYS_BETWEEN = enum.auto()
    """Those after the day of the floor."""
    DAY_OF_FLOOR = enum.auto()
    """That day, if it is another."""


def _index_scans(wanted: ForecastFilter) -> tuple[tuple[_IndexScan, ...], tuple[_IndexScan, ...]]:
    """The ways on which all that is wanted lies, and that lead past the least else: to look along, and to find on."""
    if wanted.game_id:
        by_horizon = {Horizon.HALFTIME: _IndexScan.GAME_HALFTIME, Horizon.FINAL: _IndexScan.GAME_FINAL}
        ways = tuple(way for horizon, way in by_horizon.items() if wanted.horizon in {None, horizon})
    elif wanted.by_day:
        return (_IndexScan.DAY, _IndexScan.DAYS_BEFORE), (
            _IndexScan.DAY,
            _IndexScan.DAYS_BETWEEN,
            _IndexScan.DAY_OF_FLOOR,
        )
    elif wanted.team:
        ways = (_IndexScan.HOME, _IndexScan.AWAY)
    else:
        ways = (_IndexScan.MODEL,) if wanted.model_version else (_IndexScan.PLACE,)
    return ways, ways


def _last(way: _IndexScan) -> int:
    """How many forecasts on a way a page looks at before the last one."""
    return max(MAX_ROWS_SCANNED // 4 if way in {_IndexScan.HOME, _IndexScan.AWAY} else MAX_ROWS_SCANNED, 1) - 1


_f = forecasts.c
_BEFORE = _f.sequence < bindparam("before")
_START = _f.sequence <= bindparam("start")

_BY_WAY = {
    _IndexScan.PLACE: _BEFORE,
    _IndexScan.GAME_HALFTIME: (_f.game_id == bindparam("game")) & (_f.horizon == Horizon.HALFTIME.value) & _BEFORE,
    _IndexScan.GAME_FINAL: (_f.game_id == bindparam("game")) & (_f.horizon == Horizon.FINAL.value) & _BEFORE,
    _IndexScan.HOME: (_f.home_team == bindparam("team")) & _BEFORE,
    _IndexScan.AWAY: (_f.away_team == bindparam("team")) & _BEFORE,
    _IndexScan.MODEL: (_f.model_version == bindparam("model")) & _BEFORE,
    _IndexScan.DAY: (_f.day == bindparam("before_day")) & _BEFORE,
    _IndexScan.DAYS_BEFORE: (_f.day >= bindparam("first_day")) & (_f.day < bindparam("before_day")) & _START,
    _IndexScan.DAYS_BETWEEN: (_f.day > bindparam("floor_day")) & (_f.day < bindparam("before_day")) & _START,
    _IndexScan.DAY_OF_FLOOR: (_f.day == bindparam("other_floor_day")) & _START,
}

_BY_DAY = {_IndexScan.DAY, _IndexScan.DAYS_BEFORE, _IndexScan.DAYS_BETWEEN, _IndexScan.DAY_OF_FLOOR}

_ABOVE_FLOOR: dict[_IndexScan, ColumnElement[bool]] = {
    _IndexScan.DAY: _f.sequence >= bindparam("day_floor"),
    _IndexScan.DAYS_BETWEEN: true(),
}
"""Of the other ways: those at a greater sequence."""

_later = forecasts.alias("later")
_settled = exists().where(
    settlements.c.forecast_sequence == _f.sequence, settlements.c.first_sequence <= bindparam("start")
)


def _plain(column: ColumnElement[str] | ColumnElement[int]) -> ColumnElement[Any]:
    """A column without its index: the way is chosen by what was asked for, not by what the database guesses."""
    return func.coalesce(column, None)


_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "horizon": _plain(_f.horizon) == bindparam("horizon"),
    "days": _plain(_f.day).between(bindparam("first_day"), bindparam("last_day")),
    "team": or_(_plain(_f.home_team) == bindparam("team"), _plain(_f.away_team) == bindparam("team")),
    "model": _plain(_f.model_version) == bindparam("model"),
    "minute": _f.minute == bindparam("minute"),
    "confidence": _f.confidence >= bindparam("confidence"),
    "real": _f.replay == false(),
    "settled": _settled,
    "unsettled": ~_settled,
    "newest": ~exists().where(
        _later.c.key == _f.key,
        _later.c.revision > _f.revision,
        _later.c.sequence <= bindparam("start"),
    ),
}


def _conditions(wanted: ForecastFilter) -> frozenset[str]:
    """The names of the conditions that a filter makes."""
    given = {
        "horizon": wanted.horizon is not None,
        "days": wanted.by_day and wanted.game_id != "",
        "team": wanted.team != "",
        "model": wanted.model_version != "",
        "minute": wanted.minute is not None,
        "confidence": wanted.min_confidence is not None,
        "real": not wanted.replays and not wanted.game_id,
        "settled": wanted.settled is True,
        "unsettled": wanted.settled is False,
        "newest": not wanted.superseded,
    }
    return frozenset(name for name, asked in given.items() if asked)


def _values(wanted: ForecastFilter, walk: PageCursor) -> dict[str, object]:
    last_day = _LAST_DAY if wanted.last_day is None else wanted.last_day
    return {
        "start": walk.start,
        "before_day": min(walk.before.day, last_day),
        "before": walk.before.sequence,
        "game": wanted.game_id,
        "horizon": None if wanted.horizon is None else wanted.horizon.value,
        "first_day": 0 if wanted.first_day is None else wanted.first_day,
        "last_day": last_day,
        "team": wanted.team,
        "model": wanted.model_version,
        "minute": wanted.minute,
        "confidence": wanted.min_confidence,
    }


def _floor_values(values: dict[str, Any], floor: Cursor | None) -> dict[str, int]:
    """What bounds a page from below; without a floor, nothing does but the first day."""
    if floor is None:
        return {"floor": 0, "day_floor": 0, "floor_day": values["first_day"] - 1, "other_floor_day": _NO_DAY}
    same = floor.day == values["before_day"]
    return {
        "floor": floor.sequence,
        "day_floor": floor.sequence if same else 0,
        "floor_day": floor.day,
        "other_floor_day": _NO_DAY if same else floor.day,
    }


# Made once for each shape: building a statement costs SQLAlchemy more than running it.


@cache
def _along(way: _IndexScan) -> Select[int, int]:
    """The forecasts on a way, from where the list goes on."""
    if way in _BY_DAY:
        return select(_f.day, _f.sequence).where(_BY_WAY[way]).order_by(_f.day.desc(), _f.sequence.desc())
    return select(literal(0), _f.sequence).where(_BY_WAY[way]).order_by(_f.sequence.desc())


@cache
def _floor(way: _IndexScan) -> Select[int, int]:
    """The last forecast that a page looks at on a way; none if the way ends before."""
    return _along(way).limit(1).offset(bindparam("last"))


@cache
def _matches(way: _IndexScan, conditions: frozenset[str]) -> Select[int, int]:
    """Those that meet the conditions, as far as the floor."""
    # What is looked up elsewhere comes last, and is looked up only for what meets all else.
    named = [condition for name, condition in _CONDITIONS.items() if name in conditions]
    return _along(way).where(_ABOVE_FLOOR.get(way, _f.sequence >= bindparam("floor")), *named).limit(bindparam("limit"))
