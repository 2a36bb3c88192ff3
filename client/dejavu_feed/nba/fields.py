"""Reads fields of untrusted payloads. Errors name the required field; optional fields may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from dejavu_feed.errors import MalformedFeed

T = TypeVar("T")


def required(record: object, key: str, kind: type[T], where: str) -> T:
    """Returns a required field of the given type.

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
    return value


def optional_text(record: object, key: str) -> str:
    """Returns an optional text field; "" if it is missing or not a text."""
    value = record.get(key) if isinstance(record, Mapping) else None
    return value if isinstance(value, str) else ""


def brief(value: object) -> str:
    """Returns a short representation of a value for error messages."""
    if value is None:
        return "missing"
    shown = repr(value)
    return shown if len(shown) <= 40 else f"a {type(value).__name__} of {len(shown)} characters"
