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

import enum
import reprlib
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from inspect import Parameter, signature
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
        form: the form of a value that is written as such an object.
    """

    def __init__(
        self,
        kind: type[_T],
        *,
        only: Collection[str] = (),
        omit: Collection[str] = (),
        names: Mapping[str, str] | None = None,
        parts: Mapping[str, Form] | None = None,
        inline: Mapping[str, Layout[Any]] | None = None,
    ) -> None:
        names, parts, inline, parameters = names or {}, parts or {}, inline or {}, signature(kind).parameters
        self._kind, self.form = kind, Form(None, self.write, self.read)
        self._fields: list[_Field] = []
        self._inline: list[tuple[str, Any, Layout[Any]]] = []
        for field, hint in get_type_hints(kind).items():
            if field in omit or (only and field not in only):
                continue
            default = parameters[field].default
            default = NOTHING if default is Parameter.empty else default
            if field in inline:
                self._inline.append((field, default, inline[field]))
                continue
            one, is_optional = _one(hint)
            name = names.get(field, f"{field.removesuffix('_time')}_us" if one is datetime else field)
            self._fields.append(_Field(field, name, default, is_optional, *(parts.get(field) or form_of(one))))

    def write(self, value: _T) -> dict[str, Any]:
        """Return the JSON object of a value.

        Raises:
            ValueError: if a time is not UTC.
        """
        found = {}
        for field, name, default, _, _, write, _ in self._fields:
            each = getattr(value, field)
            if default or each != default or (type(each) is float and copysign(1.0, each) < 0.0):  # −0 is read as it is
                found[name] = each if write is None or each is None else write(each)
        for field, _, layout in self._inline:
            each = getattr(value, field)
            if each is not None:
                found |= layout.write(each)
        return found

    def read(self, value: Any, **others: Any) -> _T:
        """Return the value of a JSON object.

        Args:
            value: the object.
            others: the fields that are not written in it.

        Raises:
            WrongValue: if it is no object, lacks a field without a default, has a wrong value, or if the class refuses
                the fields.
        """
        fields = self.fields(value)
        try:
            return self._kind(**fields, **others)
        except (ValueError, DejavuError) as error:
            raise WrongValue(str(error)) from None

    def fields(self, value: Any) -> dict[str, Any]:
        """Return the fields of a JSON object that has only some of them; see `read`."""
        if type(value) is not dict:
            refusal("an object")(value)
        found = {}
        for field, name, default, is_optional, plain, _, read in self._fields:
            each = value.get(name, default)
            if type(each) is plain or (each is default and default is not NOTHING) or (each is None and is_optional):
                found[field] = each
                continue
            try:
                found[field] = read(each)
            except WrongValue as error:
                raise error.within(name) from None
        for field, default, layout in self._inline:
            found[field] = layout.beside(value, default)
        return found

    def beside(self, value: dict[str, Any], default: Any) -> Any:
        """Return the value whose names are beside others in an object; the default if none of them is there."""
        if default is NOTHING:
            return self.read(value)
        try:
            return self.read(value) if any(each.name in value for each in self._fields) else default
        except UnknownName:
            return default


class _Field(NamedTuple):
    """A field: its name in the object, its default, whether null stands for None, and its form (`Form`)."""

    field: str
    name: str
    default: Any
    is_optional: bool
    plain: type | None
    write: Callable[[Any], Any] | None
    read: Callable[[Any], Any]


class _Nothing:
    """Stands for a value that is not there; equal to none."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING: Final = _Nothing()


def _one(hint: Any) -> tuple[Any, bool]:
    """Return a type without None, and whether it has that."""
    if get_origin(hint) not in {Union, UnionType}:
        return hint, False
    [one] = (each for each in get_args(hint) if each is not NoneType)
    return one, True


def form_of(hint: Any) -> Form:
    """Return the form of the values of a type."""
    if get_origin(hint) is tuple:
        items = get_args(hint)
        return _listed(form_of(items[0]), None if items[-1] is Ellipsis else len(items))
    if issubclass(hint, enum.Enum):
        return _named(hint)
    return _FORMS.get(hint) or Layout(hint).form


def _listed(form: Form, length: int | None) -> Form:
    write = form.write or (lambda value: value)
    refuse = refusal("a list" if length is None else f"a list of {length}")

    def read(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or length not in {None, len(value)}:
            refuse(value)
        if {*map(type, value)} == {form.plain}:
            return tuple(value)
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


_FORMS: Final = {
    float: Form(float, float, refusal("a number")),
    int: Form(int, int, refusal("a whole number")),
    str: Form(str, None, refusal("a text")),
    bool: Form(bool, bool, refusal("true or false")),
    date: Form(None, date.isoformat, _parsed(str, parse_day, "a date as YYYY-MM-DD")),
    datetime: Form(None, microseconds, _parsed(int, from_microseconds, "microseconds since 1970")),
}
