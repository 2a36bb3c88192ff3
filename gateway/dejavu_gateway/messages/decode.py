"""Converts JSON and query parameters to request messages. Errors are named field by field.

Callers have no token here, so a refusal must be cheap: values are counted in the bytes of a body before it is parsed,
and elements of a list before they are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NoReturn, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from dejavu_client.errors import FieldViolation
from dejavu_feed.game_ids import is_game_id
from dejavu_gateway.messages.encode import JsonObject, descriptor_of
from dejavu_gateway.messages.errors import invalid, invalid_field
from dejavu_gateway.messages.fields import JsonField, are_numbers, fields_of

MAX_VALUES: Final = 64_000
"""Maximum number of values of a body; 1000 rows of 47 minutes with all columns of the Open Inference Protocol have
58,200."""

MAX_ITEMS: Final = 300
"""Maximum number of elements of a list in a message, such as the requests of a batch. Servers accept 1000, but reading
as many takes 50 ms, too long for a process that serves many browsers."""

MAX_OBJECTS: Final = 2048
"""Maximum number of objects of a body: a batch of the maximum number of requests has 1201 if each has a market."""

MAX_MEMBERS: Final = 8192
"""Maximum number of named values in all objects of a body: such a batch has up to 25 in each request."""

MAX_VIOLATIONS: Final = 20
"""Maximum number of fields that one answer names."""

MessageT = TypeVar("MessageT", bound=Message)

_SHOWN: Final = 60
"""Maximum length of a value that an error message repeats."""


def read_json(body: bytes) -> object:
    """Parse a body.

    Raises:
        RequestRefused: if it is not JSON in UTF-8, has too many values, is nested too deeply, or has a key twice.
    """
    # Upper bounds: the same characters inside strings are counted too, but ordinary requests have few of them.
    objects = body.count(b"{")
    values = body.count(b",") + body.count(b"[") + objects
    if values > MAX_VALUES or objects > MAX_OBJECTS or body.count(b":") > MAX_MEMBERS:
        description = f"has more than {MAX_VALUES} values, {MAX_OBJECTS} objects or {MAX_MEMBERS} members of objects"
        raise invalid_field("body", description, "BODY_TOO_LARGE")
    try:
        return json.loads(body.decode(), object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise invalid_field("body", "is not UTF-8; expected JSON", "INVALID_JSON") from None
    except RecursionError:
        raise invalid_field("body", "is nested too deeply", "INVALID_JSON") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise invalid_field("body", f"is not JSON: {error.msg} at {place}", "INVALID_JSON") from None
    except ValueError as error:  # a key twice, or a number of thousands of digits
        raise invalid_field("body", f"is not JSON: {error}", "INVALID_JSON") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> JsonObject:
    result = dict(pairs)
    if len(result) < len(pairs):
        last = {name: index for index, (name, _) in enumerate(pairs)}
        twice = next(name for index, (name, _) in enumerate(pairs) if last[name] != index)
        raise ValueError(f"the key {_shown(twice)} occurs twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def from_json(value: object, message_type: type[MessageT]) -> MessageT:
    """Return the message that a JSON value describes.

    Args:
        value: JSON data.
        message_type: type of the message.

    Raises:
        RequestRefused: if the value does not describe such a message; names each wrong field with its expected form.
    """
    reader, message = _Reader(), message_type()
    reader.read(message, value)
    if reader.found:
        raise invalid(reader.found)
    return message


def from_query(
    parameters: Sequence[tuple[str, str]], message_type: type[MessageT], also: Sequence[str] = ()
) -> tuple[MessageT, dict[str, str]]:
    """Return the message that query parameters describe; each parameter sets one field.

    Args:
        parameters: names and values. A name is the name of a field in lowerCamelCase, or as in the contract.
        message_type: type of the message.
        also: names of further parameters.

    Returns:
        The message, and the values of the further parameters that are given.

    Raises:
        RequestRefused: if a parameter is unknown, repeated or invalid; names each with its expected form.
    """
    message = message_type()
    fields = fields_of(descriptor_of(message))
    values: JsonObject = {}
    others: dict[str, str] = {}
    reader = _Reader()
    for name, text in parameters:
        field = fields.get(name)
        key = field.descriptor.json_name if field else name
        if field is None and name not in also:
            reader.add(_unknown_parameter(name, [*_names(message), *also]))
        elif key in values or key in others:
            reader.add(FieldViolation(key, "is given twice; expected one value"))
        elif field is None:
            others[name] = text
        else:
            values[key] = _from_text(text, field.descriptor)
    reader.read(message, values)
    if reader.found:
        raise invalid(reader.found)
    return message, others


def _unknown_parameter(name: str, known: Sequence[str]) -> FieldViolation:
    """Return the error of an unknown query parameter."""
    expected = f"some of {', '.join(known)}" if known else "none"
    return FieldViolation(_shown_name(name), f"unknown parameter; expected {expected}")


def _from_text(text: str, field: FieldDescriptor) -> object:
    """Return a parameter as JSON data of its field, or the text itself if it does not fit, to be refused later."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE and text:
        try:
            return float(text)
        except ValueError:
            return text
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM and text.isascii() and text.isdigit():
        return int(text[:10])
    return text


class _Reader:
    """Writes JSON data to messages, and collects errors.

    Attributes:
        found: the errors.
    """

    def __init__(self) -> None:
        self.found: list[FieldViolation] = []
        self._path: list[str | int] = []  # names and indices; joined only where something is wrong

    def add(self, violation: FieldViolation) -> None:
        """Add an error of a field; raise RequestRefused if there are enough for an answer."""
        self.found.append(violation)
        if len(self.found) == MAX_VIOLATIONS:
            raise invalid(self.found)

    def read(self, message: Message, value: object) -> None:
        """Write the JSON data of a message to an empty message."""
        if not isinstance(value, dict):
            self._add((), f"{_shown(value)}; expected a JSON object")
            return
        fields = fields_of(descriptor_of(message))
        given = dict[str, str]()  # name of the field, and of its oneof → its name in the body
        for name, each in value.items():
            field = fields.get(name)
            if field is None:
                self._add((name,), f"unknown field; expected some of {', '.join(_names(message)) or 'none'}")
            elif field.name in given:
                self._add((name,), "is given twice, in both spellings")
            elif each is not None:
                if field.oneof and field.oneof in given:
                    self._add((name,), f"is given beside {given[field.oneof]}; expected one of them")
                given[field.name] = given[field.oneof or field.name] = name
                self._read_field(message, name, each, field)

    def _read_field(self, message: Message, name: str, value: object, field: JsonField) -> None:
        if field.is_repeated or field.message is not None:
            self._path.append(name)
            part = getattr(message, field.name)
            if field.is_repeated:
                self._read_list(part, value, field)
            else:
                part.SetInParent()
                self.read(part, value)
            self._path.pop()
        else:
            try:
                field.put(message, field.read(value))
            except (ValueError, TypeError):
                self._add((name,), f"{_shown(value)}; expected {field.expected}")

    def _read_list(self, items: Any, values: object, field: JsonField) -> None:
        if not isinstance(values, list):
            self._add((), f"{_shown(values)}; expected a list")
        elif len(values) > MAX_ITEMS:
            self._add((), f"{len(values)} elements; expected at most {MAX_ITEMS}")
        elif field.message is not None:
            for index, each in enumerate(values):
                self._path.append(index)
                self.read(items.add(), each)
                self._path.pop()
        elif field.descriptor.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE and are_numbers(values):
            items.extend(values)
        else:
            for index, each in enumerate(values):
                try:
                    items.append(field.read(each))
                except (ValueError, TypeError):
                    self._add((index,), f"{_shown(each)}; expected {field.expected}")

    def _add(self, place: tuple[str | int, ...], description: str) -> None:
        """Add an error at a place below the current one."""
        parts = [f"[{each}]" if isinstance(each, int) else f".{_shown_name(each)}" for each in (*self._path, *place)]
        self.add(FieldViolation("".join(parts).removeprefix(".") or "body", description))


def _names(message: Message) -> list[str]:
    return [each.json_name for each in descriptor_of(message).fields]


def _shown(value: object) -> str:
    """Return a value, shortened for an error message."""
    if isinstance(value, list | dict):
        return type(value).__name__
    text = json.dumps(value[: _SHOWN + 1] if isinstance(value, str) else value, ensure_ascii=True)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _shown_name(name: str) -> str:
    """Return the name of an unknown field or parameter for an error message: short, and in printable ASCII."""
    return json.dumps(name, ensure_ascii=True)[1:-1][:_SHOWN]


def check_names(given: Iterable[str], known: Sequence[str]) -> None:
    """Check the names of query parameters.

    Raises:
        RequestRefused: if one is not known.
    """
    for name in given:
        if name not in known:
            raise invalid([_unknown_parameter(name, known)])


def check_game_id(text: str, field: str = "gameId") -> str:
    """Return a game id.

    Args:
        text: the id.
        field: name of the parameter.

    Raises:
        RequestRefused: if it is not ten digits.
    """
    if not is_game_id(text):
        raise invalid_field(field, f"{text[:60]!r}; expected ten digits")
    return text


def check_flag(text: str, field: str) -> bool:
    """Return whether a parameter is 1.

    Raises:
        RequestRefused: if it is neither 0 nor 1.
    """
    if text not in {"0", "1"}:
        raise invalid_field(field, f"{text[:60]!r}; expected 0 or 1")
    return text == "1"
