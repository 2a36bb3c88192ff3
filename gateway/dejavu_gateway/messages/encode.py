"""Converts messages to JSON, by the JSON mapping of protobuf (protobuf.dev/programming-guides/json).

Equal to `MessageToDict(message, always_print_fields_with_no_presence=True)`, which inspects every descriptor for each
message and takes milliseconds for an explained forecast, during which no browser gets events. Here the plan of a
message type is made once. The tests compare both on every message of the contract.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from dejavu_gateway.messages.fields import kind_of

JsonObject = dict[str, Any]

_Write = Callable[[Any, JsonObject], None]


def descriptor_of(message: Message | type[Message]) -> Descriptor:
    """Return the descriptor of a message or of its type."""
    return cast("Descriptor", message.DESCRIPTOR)  # the stubs name a second type, of the C implementation


def to_dict(message: Message) -> JsonObject:
    """Return a message as a JSON object: names in lowerCamelCase, and fields with default values included.

    Optional fields, messages and members of a oneof are left out if they are not set.
    """
    result: JsonObject = {}
    for write in _plan(descriptor_of(message)):
        write(message, result)
    return result


def to_json(message: Message) -> bytes:
    """Return a message as a JSON text on one line, in UTF-8."""
    return dump(to_dict(message))


def dump(value: object) -> bytes:
    """Return JSON data as text on one line, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@cache
def _plan(descriptor: Descriptor) -> tuple[_Write, ...]:
    """Return a writer for each field of a message."""
    return tuple(_writer(field) for field in descriptor.fields)


def _writer(field: FieldDescriptor) -> _Write:
    name, key, convert = field.name, field.json_name, kind_of(field).write or to_dict

    def write_optional(message: Any, result: JsonObject) -> None:
        if message.HasField(name):
            result[key] = convert(getattr(message, name))

    def write_list(message: Any, result: JsonObject) -> None:
        result[key] = [convert(each) for each in getattr(message, name)]

    def write_always(message: Any, result: JsonObject) -> None:
        result[key] = convert(getattr(message, name))

    if field.is_repeated:
        return write_list
    return write_optional if field.has_presence else write_always
