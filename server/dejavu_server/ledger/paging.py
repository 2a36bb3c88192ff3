"""Pages of recorded forecasts, newest first: bounded work a page, and a walk over them that tells one state.

A page goes through the forecasts by the index that fits what was asked for, from where the page before ended, and looks
at no more than LOOKED_AT of them: it may be short, or empty, before the last one.

A token holds where to go on, and the head of the ledger when the first page was asked for. Which forecasts a walk tells
is decided as of then: one that is settled, or revised, while pages are turned is neither passed over nor told twice.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import struct
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, bindparam, exists, false, func, literal, or_, select, tuple_

from dejavu_models.errors import InvalidInput, quoted
from dejavu_models.types import Horizon
from dejavu_server.ledger import canonical, reading, store
from dejavu_server.ledger.schema import forecasts, settlements
from dejavu_server.ledger.store import Identity
from dejavu_server.records import RecordedForecast

LOOKED_AT = 1000
"""The most forecasts that one page looks at, of each team or horizon."""

_LAST_DAY = 10_000_000  # beyond any date

_VERSION = 1
_FORM = struct.Struct(">B16s8s9sqqi")  # version, ledger id, epoch, conditions, start, sequence, day: 54 bytes


class InvalidPageToken(InvalidInput):
    """The page_token is malformed, or of another ledger, or of a list with other conditions."""

    reason = "INVALID_PAGE_TOKEN"
    default_field = "page_token"


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
    def digest(self) -> bytes:
        """Nine bytes that tell filters apart; what a filter leaves open does not count."""
        given = [
            [each.name, getattr(self, each.name)] for each in fields(self) if getattr(self, each.name) != each.default
        ]
        told = canonical.dumps([[name, value.value if isinstance(value, Horizon) else value] for name, value in given])
        return hashlib.blake2b(told.encode(), digest_size=9).digest()


class Page(NamedTuple):
    """A page, and the token of the next one; empty: there is none."""

    forecasts: list[RecordedForecast]
    next_token: str


class _Place(NamedTuple):
    """A place in the order of a list. The day counts only where the list goes by days, and is 0 elsewhere."""

    day: int
    sequence: int


class _Walk(NamedTuple):
    """How far a list was told.

    Attributes:
        start: the head of the ledger when it began.
        before: what comes next lies before it.
    """

    start: int
    before: _Place


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
        walk = _decode(token, kept, wanted)
    else:
        start = store.head(connection).sequence
        walk = _Walk(start, _Place(_LAST_DAY, start + 1))
    found, end = _find(connection, wanted, walk, size)
    told = reading.at(connection, [place.sequence for place in found])
    return Page(told, "" if end is None else _encode(kept, wanted, walk.start, end))


def _find(connection: Connection, wanted: ForecastFilter, walk: _Walk, size: int) -> tuple[list[_Place], _Place | None]:
    """The places of a page, and the one that the next page goes on before; None if there is no next page."""
    values = _values(wanted, walk)
    ways = _ways(wanted)
    floors = [connection.execute(_floor(way), values).one_or_none() for way in ways]
    # Where several ways lead, as far as all of them were gone.
    floor = max((_Place(*row) for row in floors if row is not None), default=None)
    values |= {"floor_day": floor.day, "floor": floor.sequence} if floor is not None else {"floor_day": 0, "floor": 0}
    conditions = _conditions(wanted)
    found = sorted(
        {
            _Place(*row)
            for way in ways
            for row in connection.execute(_matches(way, conditions), {**values, "limit": size + 1})
        },
        reverse=True,
    )
    return (found[:size], found[size - 1]) if len(found) > size else (found, floor)


class _Way(enum.Enum):
    """By which index a list goes through the forecasts."""

    PLACE = enum.auto()
    GAME_HALFTIME = enum.auto()
    GAME_FINAL = enum.auto()
    DAY = enum.auto()
    HOME = enum.auto()
    AWAY = enum.auto()
    MODEL = enum.auto()


def _ways(wanted: ForecastFilter) -> tuple[_Way, ...]:
    """The ways on which all that is wanted lies: those that lead past the least else."""
    if wanted.game_id:
        ways = {Horizon.HALFTIME: _Way.GAME_HALFTIME, Horizon.FINAL: _Way.GAME_FINAL}
        return tuple(way for horizon, way in ways.items() if wanted.horizon in {None, horizon})
    if wanted.first_day is not None or wanted.last_day is not None:
        return (_Way.DAY,)
    if wanted.team:
        return _Way.HOME, _Way.AWAY
    return (_Way.MODEL,) if wanted.model_version else (_Way.PLACE,)


_START = forecasts.c.sequence <= bindparam("start")

_BY_WAY = {
    _Way.PLACE: _START,
    _Way.GAME_HALFTIME: (forecasts.c.game_id == bindparam("game")) & (forecasts.c.horizon == Horizon.HALFTIME.value),
    _Way.GAME_FINAL: (forecasts.c.game_id == bindparam("game")) & (forecasts.c.horizon == Horizon.FINAL.value),
    _Way.DAY: (forecasts.c.day >= bindparam("first_day")) & _START,
    _Way.HOME: forecasts.c.home_team == bindparam("team"),
    _Way.AWAY: forecasts.c.away_team == bindparam("team"),
    _Way.MODEL: forecasts.c.model_version == bindparam("model"),
}

_later = forecasts.alias("later")
_settled = exists().where(
    settlements.c.forecast_sequence == forecasts.c.sequence, settlements.c.first_sequence <= bindparam("start")
)


def _plain(column: ColumnElement[str] | ColumnElement[int]) -> ColumnElement[Any]:
    """A column without its index: the way is chosen by what was asked for, not by what the database guesses."""
    return func.coalesce(column, None)


_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "horizon": _plain(forecasts.c.horizon) == bindparam("horizon"),
    "days": _plain(forecasts.c.day).between(bindparam("first_day"), bindparam("last_day")),
    "team": or_(_plain(forecasts.c.home_team) == bindparam("team"), _plain(forecasts.c.away_team) == bindparam("team")),
    "model": _plain(forecasts.c.model_version) == bindparam("model"),
    "minute": forecasts.c.minute == bindparam("minute"),
    "confidence": forecasts.c.confidence >= bindparam("confidence"),
    "real": forecasts.c.replay == false(),
    "settled": _settled,
    "unsettled": ~_settled,
    "newest": ~exists().where(
        _later.c.key == forecasts.c.key,
        _later.c.revision > forecasts.c.revision,
        _later.c.sequence <= bindparam("start"),
    ),
}


def _conditions(wanted: ForecastFilter) -> frozenset[str]:
    """The names of the conditions that a filter makes."""
    given = {
        "horizon": wanted.horizon is not None,
        "days": wanted.first_day is not None or wanted.last_day is not None,
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


def _values(wanted: ForecastFilter, walk: _Walk) -> dict[str, object]:
    last_day = _LAST_DAY if wanted.last_day is None else wanted.last_day
    return {
        "start": walk.start,
        "before_day": min(walk.before.day, last_day),
        "before": walk.before.sequence if walk.before.day <= last_day else walk.start + 1,
        "game": wanted.game_id,
        "horizon": None if wanted.horizon is None else wanted.horizon.value,
        "first_day": 0 if wanted.first_day is None else wanted.first_day,
        "last_day": last_day,
        "team": wanted.team,
        "model": wanted.model_version,
        "minute": wanted.minute,
        "confidence": wanted.min_confidence,
    }


_ROW_BY_DAY = tuple_(forecasts.c.day, forecasts.c.sequence)


def _along(way: _Way) -> Select[int, int]:
    """The forecasts on a way that lie before a place, nearest first."""
    if way is _Way.DAY:
        return (
            select(forecasts.c.day, forecasts.c.sequence)
            .where(_BY_WAY[way], tuple_(bindparam("before_day"), bindparam("before")) > _ROW_BY_DAY)
            .order_by(forecasts.c.day.desc(), forecasts.c.sequence.desc())
        )
    return (
        select(literal(0), forecasts.c.sequence)
        .where(_BY_WAY[way], forecasts.c.sequence < bindparam("before"))
        .order_by(forecasts.c.sequence.desc())
    )


# Made once for each shape: building a statement costs SQLAlchemy more than running it.


@cache
def _floor(way: _Way) -> Select[int, int]:
    """The last forecast that a page looks at; none if the way ends before."""
    return _along(way).limit(1).offset(LOOKED_AT - 1)


@cache
def _matches(way: _Way, conditions: frozenset[str]) -> Select[int, int]:
    """Those that meet the conditions, as far as the floor."""
    # What is looked up elsewhere comes last, and is looked up only for what meets all else.
    named = [condition for name, condition in _CONDITIONS.items() if name in conditions]
    if way is _Way.DAY:
        reached: ColumnElement[bool] = tuple_(bindparam("floor_day"), bindparam("floor")) <= _ROW_BY_DAY
    else:
        reached = forecasts.c.sequence >= bindparam("floor")
    return _along(way).where(reached, *named).limit(bindparam("limit"))


def _encode(kept: Identity, wanted: ForecastFilter, start: int, before: _Place) -> str:
    ledger_id, epoch = UUID(kept.ledger_id).bytes, bytes.fromhex(kept.epoch)
    packed = _FORM.pack(_VERSION, ledger_id, epoch, wanted.digest, start, before.sequence, before.day)
    return base64.urlsafe_b64encode(packed).decode()


def _decode(text: str, kept: Identity, wanted: ForecastFilter) -> _Walk:
    try:
        packed = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        version, ledger_id, epoch, digest, start, sequence, day = _FORM.unpack(packed)
    except (UnicodeEncodeError, binascii.Error, struct.error):
        raise InvalidPageToken(quoted(text), "a next_page_token of an earlier response") from None
    if version != _VERSION:
        raise InvalidPageToken(f"a token of form {version}", f"form {_VERSION}")
    if (ledger_id.hex(), epoch.hex()) != (kept.ledger_id, kept.epoch):
        raise InvalidPageToken(
            "a token of another ledger, or of this one before it was restored", "one that this server's ledger gave out"
        )
    if digest != wanted.digest:
        raise InvalidPageToken("a token of a list with other conditions", "the conditions that it was given out with")
    return _Walk(start, _Place(day, sequence))
