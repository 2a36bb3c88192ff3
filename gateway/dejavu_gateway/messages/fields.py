"""Fields of messages and the conversion of their JSON to values: ProtoJSON (protobuf.dev/programming-guides/json).

Descriptors are looked up once per message type, because a lookup costs more than reading a value.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

_LARGEST: Final = sys.float_info.max

_INTEGERS: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}

Read = Callable[[Any], Any]


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
        read: returns a value in the form that the message takes; raises ValueError or TypeError for a value that is not
            accepted.
        put: sets the field of a message to what `read` returned, unless it is repeated.
    """

    name: str
    descriptor: FieldDescriptor
    is_repeated: bool
    oneof: str
    message: Descriptor | None
    expected: str
    read: Read
    put: Callable[[Any, Any], None]


@cache
def fields_of(descriptor: Descriptor) -> Mapping[str, JsonField]:
    """Return the fields of a message by their names, both in lowerCamelCase and as in the contract."""
    return {name: _json_field(field) for field in descriptor.fields for name in (field.json_name, field.name)}


def _json_field(field: FieldDescriptor) -> JsonField:
    name, oneof, message = field.name, field.containing_oneof, field.message_type
    expected, read = _scalar(field)

    def put(owner: Any, value: Any) -> None:
        setattr(owner, name, value)

    def put_message(owner: Any, value: Any) -> None:
        getattr(owner, name).CopyFrom(value)

    if message is not None and message.full_name == Timestamp.DESCRIPTOR.full_name:
        expected, read, message, put = "a time as 2024-05-06T07:08:09Z", _timestamp, None, put_message
    # An optional field has a oneof of its own.
    group = oneof.name if oneof is not None and len(oneof.fields) > 1 else ""
    return JsonField(name, field, field.is_repeated, group, message, expected, read, put)


def _scalar(field: FieldDescriptor) -> tuple[str, Read]:
    """Return the accepted values of a field in words, and the reader of one."""
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return "base64", _base64
        case FieldDescriptor.CPPTYPE_STRING:
            return "a text", _text
        case FieldDescriptor.CPPTYPE_BOOL:
            return "true or false", _bool
        case FieldDescriptor.CPPTYPE_ENUM if field.enum_type is not None:
            numbers = {each.name: each.number for each in field.enum_type.values}
            return f"one of {', '.join(numbers)}", _enum(numbers)
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return "a finite number", _number
        case kind if kind in _INTEGERS:
            lowest, highest = _INTEGERS[kind]
            return f"a whole number from {lowest} to {highest}", _integer(lowest, highest)
    return "a JSON object", _text


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, float | int) or not -_LARGEST <= value <= _LARGEST:
        raise ValueError
    return value


def are_numbers(values: Sequence[Any]) -> bool:
    """Return whether all values are finite numbers; checking them together takes a third of the time."""
    return {*map(type, values)} <= {int, float} and -_LARGEST <= min(values, default=0) <= max(
        values, default=0
    ) <= _LARGEST


def _integer(lowest: int, highest: int) -> Read:
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


def _enum(numbers: Mapping[str, int]) -> Read:
    number = _integer(*_INTEGERS[FieldDescriptor.CPPTYPE_INT32])

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
