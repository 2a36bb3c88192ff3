"""JSON schemas, made from message descriptors, of the JSON that `encode` returns and `decode` accepts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from dejavu_gateway.messages.encode import INT64, JsonObject

_TEXTS: Final[dict[str, JsonObject]] = {
    Timestamp.DESCRIPTOR.full_name: {"type": "string", "format": "date-time"},
    Duration.DESCRIPTOR.full_name: {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?s$"},
}
_UNSIGNED: Final = (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)


def reference(descriptor: Descriptor) -> JsonObject:
    """Return the reference to the schema of a message."""
    return {"$ref": f"#/components/schemas/{descriptor.name}"}


def schemas(descriptors: Iterable[Descriptor], *, answers: bool) -> dict[str, JsonObject]:
    """Return the schemas of messages and of all that they contain, by name.

    Args:
        descriptors: the messages.
        answers: True if the gateway sends the messages, in which case fields that are always present are required;
            False if browsers send them.
    """
    found: dict[str, JsonObject] = {}
    waiting = list(descriptors)
    while waiting:
        descriptor = waiting.pop()
        if descriptor.name in found or descriptor.full_name in _TEXTS:
            continue
        found[descriptor.name] = _message(descriptor, answers=answers)
        waiting += [field.message_type for field in descriptor.fields if field.message_type is not None]
    return found


def _message(descriptor: Descriptor, *, answers: bool) -> JsonObject:
    properties = {field.json_name: field_schema(field) for field in descriptor.fields}
    schema: JsonObject = {"type": "object", "properties": properties, "additionalProperties": False}
    if answers:
        schema["required"] = [f.json_name for f in descriptor.fields if f.is_repeated or not f.has_presence]
    return schema


def field_schema(field: FieldDescriptor) -> JsonObject:
    """Return the schema of a field."""
    value = _value(field)
    return {"type": "array", "items": value} if field.is_repeated else value


def _value(field: FieldDescriptor) -> JsonObject:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_MESSAGE if field.message_type is not None:
            return _TEXTS.get(field.message_type.full_name) or reference(field.message_type)
        case FieldDescriptor.CPPTYPE_ENUM if field.enum_type is not None:
            return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
        case FieldDescriptor.CPPTYPE_BOOL:
            return {"type": "boolean"}
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return {"type": "number"}
        case kind if kind in INT64:
            return {"type": "string", "pattern": "^[0-9]+$" if kind in _UNSIGNED else "^-?[0-9]+$"}
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        case FieldDescriptor.CPPTYPE_STRING:
            return {"type": "string"}
        case kind:
            schema: dict[str, Any] = {"type": "integer"}
            return schema | {"minimum": 0} if kind in _UNSIGNED else schema
