"""Layout of a JSON object: which attributes of a Python object it contains, and under which names."""

from __future__ import annotations

import enum
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, NamedTuple

from dejavu_ledger.entries.canonical_json import dumps

ITSELF: Final = "."
"""Path of a member that is made from the object itself, not from one of its attributes."""


class Kind(enum.Enum):
    """Form in which a value is written."""

    VALUE = "value"
    """The value itself, see `canonical_json.dumps`."""

    INTEGER = "integer"
    """The value as an int."""

    NUMBER = "number"
    """The value as a float."""

    NUMBERS = "numbers"
    """The items of the value, as floats."""

    OBJECT = "object"
    """An object by the layout of the member."""

    OBJECTS = "objects"
    """The items of the value, by the layout of the member."""


class Member(NamedTuple):
    """One name of a JSON object.

    Attributes:
        name: the name.
        kind: form of the value.
        path: attributes that lead to the value, with dots between, or a function of the object; empty: the attribute of
            that name.
        of: layout of the object, or of each item, for OBJECT and OBJECTS.
        convert: called with the value, unless that is None and written as null; its result is written.
        null: whether None is written as null; otherwise the value is never None.
        any: whether the name is left out if the value counts as false.
        when: path to a value, as above; the name is left out if that value is None. Empty: the name is never left out.
    """

    name: str
    kind: Kind
    path: str | Callable[[Any], Any] = ""
    of: Layout | None = None
    convert: Callable[[Any], Any] | None = None
    null: bool = False
    any: bool = False
    when: str | Callable[[Any], Any] = ""


class Layout:
    """The members of a JSON object, each from an attribute of an object.

    Args:
        members: the members, in any order.
    """

    def __init__(self, *members: Member) -> None:
        self._members = sorted((each._replace(path=each.path or each.name) for each in members), key=lambda of: of.name)
        self._getters = {path: _getter(path) for each in self._members for path in (each.path, each.when)}

    def json(self, source: object) -> str:
        """Return the canonical JSON of an object's JSON object.

        Raises:
            ValueError, TypeError: as `canonical_json.dumps` does.
        """
        return dumps(self.json_of(source))

    def json_of(self, source: object) -> dict[str, Any]:
        """Return an object's JSON object."""
        found = {}
        for each in self._members:
            if each.when and self._getters[each.when](source) is None:
                continue
            value = self._getters[each.path](source)
            if each.any and not value:
                continue
            found[each.name] = None if each.null and value is None else _written(each, value)
        return found


def _names(path: str) -> list[str]:
    return [name for name in path.split(".") if name]


def _getter(path: str | Callable[[Any], Any]) -> Callable[[Any], Any]:
    if callable(path):
        return path
    return attrgetter(path) if _names(path) else lambda source: source


def _written(member: Member, value: Any) -> Any:
    if member.convert is not None:
        value = member.convert(value)
    match member.kind:
        case Kind.INTEGER:
            return int(value)
        case Kind.NUMBER:
            return float(value)
        case Kind.NUMBERS:
            return list(map(float, value))
        case Kind.OBJECT if member.of is not None:
            return member.of.json_of(value)
        case Kind.OBJECTS if member.of is not None:
            return [member.of.json_of(each) for each in value]
        case _:
            return value
