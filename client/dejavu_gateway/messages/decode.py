"""Converts JSON and query parameters to request messages. What is wrong is named field by field."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeVar, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from dejavu_client.errors import FieldViolation
from dejavu_gateway.messages.encode import JsonObject, descriptor_of
from dejavu_gateway.messages.errors import invalid, invalid_field

MAX_NESTING: Final = 32
"""Deepest nesting of a body; the messages of the contract are nested five deep."""

MAX_VIOLATIONS: Final = 20
"""Most fields that one answer names."""

MessageT = TypeVar("MessageT", bound=Message)

_BRACKETS: Final = re.compile(r"[\[\]{}]")

_SHOWN: Final = 60
"""Longest value that a message repeats."""

_INTEGERS: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_NUMBERS: Final = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
_MAX_SINGLE: Final = 3.4028234663852886e38


def read_json(body: bytes) -> object:
    """Parses a body.

    Raises:
        RequestRefused: if it is not JSON in UTF-8, is nested too deeply, or has a key twice.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise invalid_field("body", "is not UTF-8; expected JSON", "INVALID_JSON") from None
    if _nesting(text) > MAX_NESTING:
        raise invalid_field("body", f"is nested more than {MAX_NESTING} deep", "INVALID_JSON")
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise invalid_field("body", f"is not JSON: {error.msg} at {place}", "INVALID_JSON") from None
    except ValueError as error:  # a key twice, or a number of thousands of digits
        raise invalid_field("body", f"is not JSON: {error}", "INVALID_JSON") from None


def _nesting(text: str) -> int:
    """Returns an upper bound of how deep a text of JSON is nested: brackets in strings count too."""
    depth = deepest = 0
    for bracket in _BRACKETS.findall(text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _without_duplicates(pairs: list[tuple[str, Any]]) -> JsonObject:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {_shown(next(each for each in names if names.count(each) > 1))} occurs twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def from_json(value: object, message_type: type[MessageT]) -> MessageT:
    """Returns the message that a JSON value describes.

    Args:
        value: JSON data.
        message_type: type of the message.

    Raises:
        RequestRefused: if it does not describe one; names each field with what was expected.
    """
    found = list[FieldViolation]()
    for violation in _violations(value, descriptor_of(message_type), ""):
        found.append(violation)
        if len(found) == MAX_VIOLATIONS:
            break
    if found:
        raise invalid(found)
    try:
        return ParseDict(cast("JsonObject", value), message_type())
    except ParseError as error:  # two members of a oneof; a time that no calendar has
        raise invalid_field("body", str(error)) from None


def from_query(
    parameters: Sequence[tuple[str, str]], message_type: type[MessageT], also: Sequence[str] = ()
) -> tuple[MessageT, dict[str, str]]:
    """Returns the message that query parameters describe, one for each field.

    Args:
        parameters: names and values. A name is that of a field in lowerCamelCase, or as in the contract.
        message_type: type of the message.
        also: names of further parameters.

    Returns:
        The message, and the values of the further parameters that are given.

    Raises:
        RequestRefused: if a parameter is unknown, repeated or invalid; names each with what was expected.
    """
    descriptor = descriptor_of(message_type)
    fields = _by_name(descriptor)
    values: JsonObject = {}
    others: dict[str, str] = {}
    found = list[FieldViolation]()
    for name, text in parameters:
        field = fields.get(name)
        key = field.json_name if field else name
        if field is None and name not in also:
            found.append(unknown_parameter(name, [*(each.json_name for each in descriptor.fields), *also]))
        elif key in values or key in others:
            found.append(FieldViolation(key, "is given twice; expected one value"))
        elif field is None:
            others[name] = text
        else:
            values[key] = _from_text(text, field)
    found += _violations(values, descriptor, "")
    if found:
        raise invalid(found[:MAX_VIOLATIONS])
    return from_json(values, message_type), others


def unknown_parameter(name: str, known: Sequence[str]) -> FieldViolation:
    """Returns what is wrong with a query parameter that is none of the known ones."""
    expected = f"some of {', '.join(known)}" if known else "none"
    return FieldViolation(_shown_name(name), f"unknown parameter; expected {expected}")


def _from_text(text: str, field: FieldDescriptor) -> object:
    """Returns a parameter as JSON data of its field; the text itself if it is none, which is then refused."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if field.cpp_type in _NUMBERS and text:
        try:
            return float(text)
        except ValueError:
            return text
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM and text.isascii() and text.isdigit():
        return int(text[:10])
    return text


def _by_name(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    return {name: field for field in descriptor.fields for name in (field.json_name, field.name)}


def _violations(value: object, descriptor: Descriptor, path: str) -> Iterator[FieldViolation]:
    """Yields what is wrong with the JSON of a message."""
    if descriptor.full_name in _TEXTS:
        yield from _TEXTS[descriptor.full_name](value, path)
        return
    if not isinstance(value, Mapping):
        yield FieldViolation(path or "body", f"{_shown(value)}; expected a JSON object")
        return
    fields = _by_name(descriptor)
    given = set[str]()
    for name, each in value.items():
        field = fields.get(name)
        at = f"{path}.{_shown_name(name)}" if path else _shown_name(name)
        if field is None:
            known = ", ".join(each.json_name for each in descriptor.fields) or "none"
            yield FieldViolation(at, f"unknown field; expected some of {known}")
        elif field.name in given:
            yield FieldViolation(at, "is given twice, in both spellings")
        elif each is not None:
            given.add(field.name)
            yield from _field_violations(each, field, at)


def _field_violations(value: object, field: FieldDescriptor, path: str) -> Iterator[FieldViolation]:
    if not field.is_repeated:
        yield from _value_violations(value, field, path)
    elif not isinstance(value, list):
        yield FieldViolation(path, f"{_shown(value)}; expected a list")
    else:
        for index, each in enumerate(value):
            yield from _value_violations(each, field, f"{path}[{index}]")


def _value_violations(value: object, field: FieldDescriptor, path: str) -> Iterator[FieldViolation]:
    if field.message_type is not None:
        yield from _violations(value, field.message_type, path)
    elif (expected := _expected(value, field)) is not None:
        yield FieldViolation(path, f"{_shown(value)}; expected {expected}")


def _expected(value: object, field: FieldDescriptor) -> str | None:
    """Returns what was expected in place of a value; None if it is right."""
    right, expected = False, ""
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            right, expected = _is_base64(value), "base64"
        case FieldDescriptor.CPPTYPE_STRING:
            right, expected = isinstance(value, str) and _is_unicode(value), "a text"
        case FieldDescriptor.CPPTYPE_BOOL:
            right, expected = isinstance(value, bool), "true or false"
        case FieldDescriptor.CPPTYPE_ENUM if field.enum_type is not None:
            names = [each.name for each in field.enum_type.values]
            right = value in names if isinstance(value, str) else _is_int(value, -(2**31), 2**31 - 1)
            expected = f"one of {', '.join(names)}"
        case kind if kind in _NUMBERS:
            right, expected = _is_number(value, single=kind == FieldDescriptor.CPPTYPE_FLOAT), "a finite number"
        case kind:
            lowest, highest = _INTEGERS[kind]
            right, expected = _is_int(value, lowest, highest), f"a whole number from {lowest} to {highest}"
    return None if right else expected


def _is_number(value: object, *, single: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        number = float(value)
    except OverflowError:
        return False
    return math.isfinite(number) and (not single or abs(number) <= _MAX_SINGLE)


def _is_int(value: object, lowest: int, highest: int) -> bool:
    """Returns whether a value is a whole number, as a number or, as JSON has 64-bit numbers, as a text of digits."""
    if isinstance(value, str):
        digits = value.removeprefix("-")
        return digits.isascii() and digits.isdigit() and len(digits) <= 20 and lowest <= int(value) <= highest
    if isinstance(value, bool) or not isinstance(value, int):
        return False
    return lowest <= value <= highest


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _is_base64(value: object) -> bool:
    try:
        base64.b64decode(cast("str", value), validate=True)
    except (binascii.Error, TypeError, ValueError):
        return False
    return True


def _text_violations(
    kind: type[Timestamp | Duration], expected: str
) -> Callable[[object, str], Iterator[FieldViolation]]:
    def violations(value: object, path: str) -> Iterator[FieldViolation]:
        try:
            kind().FromJsonString(cast("str", value))
        except (ValueError, AttributeError, TypeError, OverflowError):
            yield FieldViolation(path, f"{_shown(value)}; expected {expected}")

    return violations


_TEXTS: Final = {
    Timestamp.DESCRIPTOR.full_name: _text_violations(Timestamp, "a time as 2024-05-06T07:08:09Z"),
    Duration.DESCRIPTOR.full_name: _text_violations(Duration, "a duration as 1.5s"),
}


def _shown(value: object) -> str:
    """Returns a value for a message, shortened."""
    text = json.dumps(value, ensure_ascii=True) if not isinstance(value, list | dict) else type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _shown_name(name: str) -> str:
    """Returns the name of an unknown field or parameter for a message: short, and of printable ASCII."""
    return json.dumps(name, ensure_ascii=True)[1:-1][:_SHOWN]
