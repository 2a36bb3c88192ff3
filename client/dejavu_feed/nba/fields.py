"""Reads fields of a payload that may be anything: what must be right raises by name, what decorates may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from dejavu_feed.errors import MalformedFeed

T = TypeVar("T")


def required(record: object, key: str, kind: type[T], where: str) -> T:
    """A field that must be there, of its type.

    Args:
        record: what should be an object.
        key: the field.
        kind: its type; a bool is no int.
        where: how the record is named in errors.

    Raises:
        MalformedFeed: if it is not.
    """
    if not isinstance(record, Mapping):
        raise MalformedFeed(f"{where} is {brief(record)}, expected an object")
    value = record.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise MalformedFeed(f"{where}.{key} is {brief(value)}, expected {kind.__name__}")
    return value


def optional_text(record: object, key: str) -> str:
    """A text that may be missing: then ""."""
    value = record.get(key) if isinstance(record, Mapping) else None
    return value if isinstance(value, str) else ""


def brief(value: object) -> str:
    """What was found, short enough for a line."""
    if value is None:
        return "missing"
    shown = repr(value)
    return shown if len(shown) <= 40 else f"a {type(value).__name__} of {len(shown)} characters"
