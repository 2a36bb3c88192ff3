"""Fields of messages and the JSON of their values, read and written: ProtoJSON (protobuf.dev/programming-guides/json).

Descriptors are looked up once per message type, because a lookup costs more than reading a value.
"""

from __future__ import annotations

import base64
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

_LARGEST: Final = sys.float_info.max

_INT32: Final = -(2**31), 2**31 - 1

Convert = Callable[[Any], Any]


class Kind(NamedTuple):
    """What one value of a field is in JSON.

    Attributes:
        expected: the accepted values, in words.
        schema: the schema of a value (OpenAPI 3.1); None for a message, which has one of its own.
        read: returns a value in the form that the message takes; raises ValueError or TypeError for a value that is not
            accepted.
        write: returns a value of the message in JSON; None for a message.
    """

    expected: str
    schema: dict[str, Any] | None
    read: Convert
    write: Convert | None


@dataclass(frozen=True, slots=True)
class JsonField:
    """A field of a message in its JSON form.

    Attributes:
        name: its name in the contract.
        descriptor: its descriptor.
        is_repeated: whether it is a list.
        oneof: the oneof of which it is a member; empty if there is none.
        message: descriptor of the message that it contains; None if its value is a number, a text or another scalar.
        expected: the accepted values, in words.
        read: see `Kind`.
        put: sets the field of a message to what `read` returned, unless it is repeated.
    """

    name: str
    descriptor: FieldDescriptor
    is_repeated: bool
    oneof: str
    message: Descriptor | None
    expected: str
    read: Convert
    put: Callable[[Any, Any], None]


@cache
def fields_of(descriptor: Descriptor) -> Mapping[str, JsonField]:
    """Return the fields of a message by their names, both in lowerCamelCase and as in the contract."""
    return {name: _json_field(field) for field in descriptor.fields for name in (field.json_name, field.name)}


def is_time(field: FieldDescriptor) -> bool:
    """Return whether the values of a field are times."""
    return field.message_type is not None and field.message_type.full_name == Timestamp.DESCRIPTOR.full_name


def _json_field(field: FieldDescriptor) -> JsonField:
    name, oneof, kind = field.name, field.containing_oneof, kind_of(field)

    def put(owner: Any, value: Any) -> None:
        setattr(owner, name, value)

    def put_message(owner: Any, value: Any) -> None:
        getattr(owner, name).CopyFrom(value)

    message = None if is_time(field) else field.message_type
    # An optional field has a oneof of its own.
    group = oneof.name if oneof is not None and len(oneof.fields) > 1 else ""
    setter = put_message if is_time(field) else put
    return JsonField(name, field, field.is_repeated, group, message, kind.expected, kind.read, setter)


def kind_of(field: FieldDescriptor) -> Kind:
    """Return what the values of a field are in JSON."""
    if is_time(field):
        return _TIME
    if field.message_type is not None:
        return _MESSAGE
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _BYTES
    if field.enum_type is not None:
        numbers = {each.name: each.number for each in field.enum_type.values}
        names = {number: name for name, number in numbers.items()}
        schema = {"type": "string", "enum": list(numbers)}
        return Kind(f"one of {', '.join(numbers)}", schema, _enum(numbers), lambda number: names.get(number, number))
    return _KINDS[field.cpp_type]


def _whole(bounds: tuple[int, int], schema: dict[str, Any], write: Convert) -> Kind:
    return Kind(f"a whole number from {bounds[0]} to {bounds[1]}", schema, _integer(*bounds), write)


def _unchanged(value: Any) -> Any:
    return value


def _double(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, float | int) or not -_LARGEST <= value <= _LARGEST:
        raise ValueError
    return value


def are_numbers(values: Sequence[Any]) -> bool:
    """Return whether all values are finite numbers; checking them together takes a third of the time."""
    return {*map(type, values)} <= {int, float} and -_LARGEST <= min(values, default=0) <= max(
        values, default=0
    ) <= _LARGEST


def _integer(lowest: int, highest: int) -> Convert:
    """Return the reader of an integer: a number or, as in protobuf's JSON of 64-bit numbers, a text of digits."""

    def read(value: Any) -> int:
        if isinstance(value, str):
            digits = value.removeprefix("-")
            if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
                raise ValueError
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise ValueError
        return value

    return read


def _enum(numbers: Mapping[str, int]) -> Convert:
    number = _integer(*_INT32)

    def read(value: Any) -> int:
        if isinstance(value, str):
            if value not in numbers:
                raise ValueError
            return numbers[value]
        return number(value)  # type: ignore[no-any-return]

    return read


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # half of a surrogate pair, which JSON can escape, is a ValueError
    return value


def _base64(value: Any) -> bytes:
    return base64.b64decode(_text(value), validate=True)


def _timestamp(value: Any) -> Timestamp:
    message = Timestamp()
    try:
        message.FromJsonString(_text(value))
    except (AttributeError, OverflowError) as error:
        raise ValueError from error
    return message


_MESSAGE: Final = Kind("a JSON object", None, _text, None)
_TIME: Final = Kind(
    "a time as 2024-05-06T07:08:09Z", {"type": "string", "format": "date-time"}, _timestamp, Timestamp.ToJsonString
)
_BYTES: Final = Kind(
    "base64", {"type": "string", "contentEncoding": "base64"}, _base64, lambda value: base64.b64encode(value).decode()
)
_KINDS: Final = {
    FieldDescriptor.CPPTYPE_STRING: Kind("a text", {"type": "string"}, _text, _unchanged),
    FieldDescriptor.CPPTYPE_BOOL: Kind("true or false", {"type": "boolean"}, _bool, _unchanged),
    FieldDescriptor.CPPTYPE_DOUBLE: Kind("a finite number", {"type": "number"}, _number, _double),
    FieldDescriptor.CPPTYPE_INT32: _whole(_INT32, {"type": "integer"}, _unchanged),
    # Texts, because programs that have only doubles would round numbers.
    FieldDescriptor.CPPTYPE_INT64: _whole((-(2**63), 2**63 - 1), {"type": "string", "pattern": "^-?[0-9]+$"}, str),
    FieldDescriptor.CPPTYPE_UINT64: _whole((0, 2**64 - 1), {"type": "string", "pattern": "^[0-9]+$"}, str),
}
"""By the type of a field that is neither a message, an enum nor bytes."""
