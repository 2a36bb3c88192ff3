"""Layout of a JSON object: one declaration, taken from the fields of a class, that both writes and reads it.

Each field of a dataclass or NamedTuple is a name of the object, and its type decides the form of the value:

    float, int, str, bool      a number with a fraction, a whole number, a text, true or false
    date                       YYYY-MM-DD
    datetime                   whole microseconds since 1970 in UTC; a field `read_time` is written as `read_us`
    enum                       the value of its member; of an IntEnum, the member's name in lower case
    tuple                      a list
    dataclass, NamedTuple      an object
    X | None                   X, or null

A field whose default is None, 0, false or empty is left out while it has that value. Other defaults are written, since
a later release may have others. When read, names without a field are ignored: a later release wrote them.
"""

from __future__ import annotations

import dataclasses
import enum
import reprlib
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from functools import lru_cache
from math import copysign
from types import NoneType, UnionType
from typing import Any, Final, Generic, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from dejavu_common.clock import from_microseconds, microseconds, parse_day
from dejavu_models.errors import DejavuError

_T = TypeVar("_T")


class WrongValue(ValueError):
    """A value of a JSON object is not what its layout expects.

    Args:
        what: what was found, and what was expected.
        path: names and indexes that lead to the value.
    """

    def __init__(self, what: str, path: str = "") -> None:
        super().__init__(f"{path}: {what}" if path else what)
        self._what, self._path = what, path

    def within(self, step: str) -> WrongValue:
        """Return the same error for the object or list that has the value under a name or index."""
        dot = "." if self._path and not self._path.startswith("[") else ""
        kind = WrongValue if self._path else type(self)  # an unknown name matters where it stands, and not further out
        return kind(self._what, f"{step}{dot}{self._path}")


class UnknownName(WrongValue):
    """A text names no member of an enum; a later release may have added it."""


class Form(NamedTuple):
    """Form of a value.

    Attributes:
        plain: type of the JSON values that are read as they are; None: of none.
        write: return the JSON value of a value; None: it is written as it is.
        read: return the value of a JSON value that is not of the type `plain`, or raise a WrongValue.
    """

    plain: type | None
    write: Callable[[Any], Any] | None
    read: Callable[[Any], Any]


def refusal(expected: str) -> Callable[[Any], Any]:
    """Return a function that raises a WrongValue for any value."""

    def refuse(value: object) -> Any:
        raise WrongValue(f"{reprlib.repr(value)}; expected {expected}")

    return refuse


class Layout(Generic[_T]):
    """The names of a JSON object, each from and to a field of a class.

    Args:
        kind: the class.
        only: the fields that are written; empty: all.
        omit: fields that are not written.
        names: field → its name, if it has another one.
        parts: field → the form of its value, if its type does not decide it.
        inline: field → layout of the object that is its value, whose names are written beside the others. If none of
            them is there when it is read, the field has its default.

    Attributes:
        read: return the value of a JSON object, given the fields that are not written in it as named arguments; raise a
            WrongValue if it is no object, lacks a field without a default, has a wrong value, or if the class refuses
            the fields.
        fields: the same, but return the fields by name: for an object that has only some of them.
    """

    plain: Final = None
    """A layout is a form: of an object, which is not read as it is."""

    def __init__(
        self,
        kind: type[_T],
        *,
        only: Collection[str] = (),
        omit: Collection[str] = (),
        names: Mapping[str, str] | None = None,
        parts: Mapping[str, Form | Layout[Any]] | None = None,
        inline: Mapping[str, Layout[Any]] | None = None,
    ) -> None:
        names, parts, self._inline = names or {}, parts or {}, inline or {}
        defaults, readers = _defaults(kind), dict[str, _Reader]()
        self._written: list[tuple[str, str, Callable[[Any], Any] | None, Any]] = []
        for field, hint in get_type_hints(kind).items():
            if field in omit or (only and field not in only):
                continue
            default = defaults.get(field, NOTHING)
            if field in self._inline:
                readers[field] = _Reader("", default, None, self._inline[field]._beside(default))
                continue
            one, is_optional = _one(hint)
            name = names.get(field, f"{field.removesuffix('_time')}_us" if one is datetime else field)
            form = parts.get(field) or form_of(one)
            write = _or_null(form.write) if is_optional and default is not None else form.write
            self._written.append((name, field, write, NOTHING if default else default))
            readers[field] = _Reader(name, default, form.plain, form.read, is_optional)
        self._names = {each[0] for each in self._written}
        named = only or omit or any(each.kw_only for each in getattr(kind, "__dataclass_fields__", {}).values())
        self.read: Callable[..., _T] = _function(kind, readers, in_order=not named)
        self.fields: Callable[..., dict[str, Any]] = _function(dict, readers, in_order=False)

    def write(self, value: _T) -> dict[str, Any]:
        """Return the JSON object of a value.

        Raises:
            ValueError: if a time is not UTC.
        """
        found = {}
        for name, field, write, left_out in self._written:
            each = getattr(value, field)
            if each != left_out or (type(each) is float and copysign(1.0, each) < 0.0):  # −0 is read back as it is
                found[name] = each if write is None else write(each)
        for field, layout in self._inline.items():
            each = getattr(value, field)
            if each is not None:
                found |= layout.write(each)
        return found

    def _beside(self, default: Any) -> Callable[[dict[str, Any]], Any]:
        """Return the function that reads the value from the object beside whose names its own are written."""
        if default is NOTHING:
            return self.read

        def read(value: dict[str, Any]) -> Any:
            try:
                return default if self._names.isdisjoint(value) else self.read(value)
            except UnknownName:
                return default

        return read


class _Reader(NamedTuple):
    """How a field is read: name, default, the members of a form, and whether null stands for None.

    Without a name, it is read from the object that has the names.
    """

    name: str
    default: Any
    plain: type | None
    read: Callable[[Any], Any]
    is_optional: bool = False

    def takes(self, value: Any) -> bool:
        """Return whether a value is the field's as it is."""
        is_default = value is self.default and value is not NOTHING
        return type(value) is self.plain or is_default or (value is None and self.is_optional)


def _function(make: Callable[..., Any], readers: Mapping[str, _Reader], *, in_order: bool) -> Callable[..., Any]:
    """Return the function that reads an object, as `dataclasses` makes constructors: a loop would take twice the time.

    The class takes the values in order (`in_order`), or by name, beside those that are not written. Of a layout with
    the fields `distance`, a float without a default, and `date`, a date or None by default, it is:

        def read(value):
            if type(value) is not dict: refuse(value)
            get = value.get
            try:
                v0 = get('distance', default0)
                if type(v0) is not plain0: v0 = read0(v0)
                v1 = get('date', default1)
                if v1 is not default1 and v1 is not None: v1 = read1(v1)
                return make(v0, v1)
            except refused as error: raise wrong(error, value) from None
    """

    def wrong(error: Exception, value: dict[str, Any]) -> WrongValue:
        """Return the error of the first value that is wrong, with its name; otherwise that of the class."""
        for each in readers.values():
            found = value.get(each.name, each.default)
            if each.name and not each.takes(found):
                try:
                    each.read(found)
                except WrongValue as named:
                    return named.within(each.name)
        return error if isinstance(error, WrongValue) else WrongValue(str(error))

    known: dict[str, Any] = {"make": make, "refuse": refusal("an object"), "wrong": wrong}
    known["refused"] = ValueError, DejavuError
    reading = []
    for at, each in enumerate(readers.values()):
        known |= {f"plain{at}": each.plain, f"default{at}": each.default, f"read{at}": each.read}
        if not each.name:
            reading.append(f"v{at} = read{at}(value)")
            continue
        unread = [f"type(v{at}) is not plain{at}"] if each.plain else []
        unread += [f"v{at} is not default{at}"] if each.default is not NOTHING else []
        unread += [f"v{at} is not None"] if each.is_optional else []
        reading.append(f"v{at} = get({each.name!r}, default{at})")
        reading.append(f"if {' and '.join(unread) or True}: v{at} = read{at}(v{at})")
    others = "" if in_order or make is dict else ", **others"
    arguments = ", ".join(f"v{at}" if in_order else f"{field}=v{at}" for at, field in enumerate(readers))
    lines = [f"def read(value{others}):", " if type(value) is not dict: refuse(value)", " get = value.get", " try:"]
    lines += [f"  {each}" for each in (*reading, f"return make({arguments}{others})")]
    lines += [" except refused as error: raise wrong(error, value) from None"]
    exec("\n".join(lines), known)  # noqa: S102 - from the names of fields
    function: Callable[..., Any] = known["read"]
    return function


def _or_null(write: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    return write and (lambda value: None if value is None else write(value))


class _Nothing:
    """Stands for a value that is not there; equal to none."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING: Final = _Nothing()


def _defaults(kind: type) -> dict[str, Any]:
    if not dataclasses.is_dataclass(kind):
        return dict(kind._field_defaults)  # type: ignore[attr-defined]  # a NamedTuple
    return {each.name: each.default for each in dataclasses.fields(kind) if each.default is not dataclasses.MISSING}


def _one(hint: Any) -> tuple[Any, bool]:
    """Return a type without None, and whether it has that."""
    if get_origin(hint) not in {Union, UnionType}:
        return hint, False
    [one] = (each for each in get_args(hint) if each is not NoneType)
    return one, True


def form_of(hint: Any) -> Form | Layout[Any]:
    """Return the form of the values of a type."""
    if get_origin(hint) is tuple:
        items = get_args(hint)
        return _listed(form_of(items[0]), None if items[-1] is Ellipsis else len(items))
    if issubclass(hint, enum.Enum):
        return _named(hint)
    return _FORMS.get(hint) or Layout(hint)


def _listed(form: Form | Layout[Any], length: int | None) -> Form:
    write, plain = form.write or (lambda value: value), {form.plain} - {None}
    refuse = refusal("a list" if length is None else f"a list of {length}")

    def read(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or len(value) != (len(value) if length is None else length):
            refuse(value)
        try:
            return tuple(value if plain and {*map(type, value)} <= plain else map(form.read, value))
        except WrongValue:
            found = []
        for index, each in enumerate(value):
            try:
                found.append(each if type(each) is form.plain else form.read(each))
            except UnknownName:
                continue
            except WrongValue as error:
                raise error.within(f"[{index}]") from None
        return tuple(found)

    return Form(None, lambda values: [*map(write, values)], read)


def _named(kind: type[enum.Enum]) -> Form:
    members = {each.name.lower() if issubclass(kind, enum.IntEnum) else each.value: each for each in kind}
    names, expected = {each: name for name, each in members.items()}, " or ".join(members)

    def read(value: Any) -> enum.Enum:
        if type(value) is not str:
            refusal(expected)(value)
        if value not in members:
            raise UnknownName(f"{reprlib.repr(value)}; expected {expected}")
        return members[value]

    return Form(None, names.__getitem__, read)


def _parsed(kind: type, parse: Callable[[Any], Any], expected: str) -> Callable[[Any], Any]:
    """Return a function that parses values of a type, and refuses others."""
    refuse = refusal(expected)

    def read(value: Any) -> Any:
        try:
            return parse(value) if type(value) is kind else refuse(value)
        except (ValueError, OverflowError):
            return refuse(value)

    return read


_known_day: Final = lru_cache(maxsize=4096)(parse_day)
"""The same days, those of similar games above all, stand in many entries."""

_FORMS: Final = {
    float: Form(float, float, refusal("a number")),
    int: Form(int, int, refusal("a whole number")),
    str: Form(str, None, refusal("a text")),
    bool: Form(bool, bool, refusal("true or false")),
    date: Form(None, date.isoformat, _parsed(str, _known_day, "a date as YYYY-MM-DD")),
    datetime: Form(None, microseconds, _parsed(int, from_microseconds, "microseconds since 1970")),
}
