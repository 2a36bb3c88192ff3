"""Copies domain values to messages whose fields have the same names."""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.message import Message

_MessageT = TypeVar("_MessageT", bound=Message)


def message_of(kind: type[_MessageT], source: object, **others: Any) -> _MessageT:
    """Returns a message with the given fields, and all remaining ones from attributes of the source.

    Not for what every call builds: naming the fields is faster.

    Raises:
        AttributeError: if the source lacks a field.
    """
    names = kind.DESCRIPTOR.fields_by_name.keys() - others.keys()
    return kind(**others, **{name: getattr(source, name) for name in names})
