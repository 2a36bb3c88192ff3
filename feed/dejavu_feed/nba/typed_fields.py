"""Reads fields of untrusted payloads. Errors name the required field; optional fields may be missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final, TypeVar, cast

from dejavu_feed.errors import MalformedFeed
from dejavu_feed.game_ids import FIRST_DAY, LAST_DAY, game_id_of, is_game_id
from dejavu_feed.horizon import MAX_OVERTIMES
from dejavu_feed.pattern import period_seconds

T = TypeVar("T")

MAX_PERIOD: Final = 4 + MAX_OVERTIMES
"""Last period that a game can have."""

_CLOCK = re.compile(r"PT(?:([0-9]{1,2})M)?([0-9]{1,2}(?:\.[0-9]+)?)S", re.ASCII)


def required(record: object, key: str, kind: type[T], where: str) -> T:
    """Return a required field of the given type.

    Args:
        record: the value that should be an object.
        key: name of the field.
        kind: expected type; a bool is not accepted as an int.
        where: name of the record in error messages.

    Raises:
        MalformedFeed: if the record is not an object, or the field is missing or of another type.
    """
    if not isinstance(record, Mapping):
        raise MalformedFeed(f"{where} is {brief(record)}, expected an object")
    value = record.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise MalformedFeed(f"{where}.{key} is {brief(value)}, expected {kind.__name__}")
    return cast("T", encodable(value)) if isinstance(value, str) else value


def required_game_id(record: object, key: str, where: str) -> str:
    """Return a required NBA id, which may be a number.

    Raises:
        MalformedFeed: as `required`, and if it is no id.
    """
    value = record.get(key) if isinstance(record, Mapping) else None
    kind: type[object] = int if isinstance(value, int) and not isinstance(value, bool) else str
    game_id = game_id_of(required(record, key, kind, where))
    if not is_game_id(game_id):
        raise MalformedFeed(f"{where}.{key} is {game_id[:20]!r}, expected ten digits")
    return game_id


def required_list(record: object, key: str, where: str, most: int) -> list[Any]:
    """Return a required list of at most `most` elements.

    Raises:
        MalformedFeed: as `required`, and if the list is longer.
    """
    values: list[Any] = required(record, key, list, where)
    if len(values) > most:
        raise MalformedFeed(f"{where}.{key} has {len(values)} elements, expected at most {most}")
    return values


def optional_text(record: object, key: str) -> str:
    """Return an optional text field; "" if it is missing or not a text."""
    value = record.get(key) if isinstance(record, Mapping) else None
    return encodable(value) if isinstance(value, str) else ""


def encodable(text: str) -> str:
    """Return a text that UTF-8 can encode: half of a surrogate pair, which JSON may contain, is replaced."""
    return text.encode(errors="replace").decode()


def points(record: object, key: str, where: str) -> int:
    """Return a required score: an int, or a string of digits.

    Raises:
        MalformedFeed: if it is missing, negative or has more than three digits.
    """
    value = record.get(key) if isinstance(record, Mapping) else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 3:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 999:
        return value
    raise MalformedFeed(f"{where}.{key} is {brief(value)}, expected points")


def clock_seconds(text: str) -> float | None:
    """Parse a clock such as "PT06M05.00S" into seconds; None for other texts, such as "" before a game."""
    match = _CLOCK.fullmatch(text)
    return None if match is None else 60 * int(match[1] or 0) + float(match[2])


def game_clock(record: object, where: str) -> tuple[int, float]:
    """Return the period of a play and the seconds left in it.

    Raises:
        MalformedFeed: if period or clock is missing, or there is no such moment in a game.
    """
    period = required(record, "period", int, where)
    text = required(record, "clock", str, where)
    clock = clock_seconds(text)
    if not 1 <= period <= MAX_PERIOD or clock is None or clock > period_seconds(period):
        raise MalformedFeed(f"{where} is at {text[:20]!r} of period {brief(period)}, which is not a valid game clock")
    return period, clock


def instant(text: str) -> datetime | None:
    """Parse an ISO 8601 time, in UTC unless it has an offset; None if it is invalid, or its year has no games."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    if not _has_games(time):
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def compact_day(text: str) -> date | None:
    """Parse a day such as "20230420". Return None if it is invalid, or its year has no games."""
    try:
        day = datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
    return day if _has_games(day) else None


def _has_games(day: date) -> bool:
    """Return whether a day's year can have games; dates computed from such a day stay within Python's range."""
    return FIRST_DAY.year <= day.year <= LAST_DAY.year


def brief(value: object) -> str:
    """Return a short representation of a value for error messages."""
    if value is None:
        return "missing"
    shown = repr(value)
    return shown if len(shown) <= 40 else f"a {type(value).__name__} of {len(shown)} characters"
