"""Decoding of requests: bytes that are not a message, or have far more parts than any request needs, are refused.

Source of the wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Final, NamedTuple, TypeVar, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from dejavu.inference.open_inference_pb2 import ModelInferRequest
from dejavu.v1.cache_service_pb2 import WarmCacheRequest
from dejavu.v1.model_service_pb2 import RegisterBundleRequest
from dejavu.v1.prediction_service_pb2 import PredictBatchRequest, PredictColumnsRequest
from dejavu_models.errors import DejavuError

VARINT: Final = 0
LEN: Final = 2
_FIXED: Final = {1: 8, 5: 4}
"""Sizes of the types of fixed size. The two other types begin and end groups, which no message of this contract has."""

_MAX_VARINT_BYTES: Final = 10
_MAX_LENGTH_BYTES: Final = 5

MAX_FIELDS: Final = 4096
"""Maximum number of fields of a request, elements of its lists included; a stream of as many games as allowed has 201.

Parsing an empty message takes 0.1 µs and turns its 2 bytes into 100: half a million of them cost more than a batch.
"""

MAX_BYTES: Final = 64 * 1024
"""Largest request in bytes: it stays in memory while a stream lasts, or until an answer is read. The request for a
stream of as many games as allowed has 2.4 kB."""

_BYTES_OF: Final[Mapping[type[Message], int | None]] = {
    # Numbers and texts of tensors become up to sixteen times as large when they are parsed. As many rows as allowed
    # have 600 kB if all numbers are negative integers.
    ModelInferRequest: 768 * 1024,
    HealthCheckRequest: 1024,  # its streams and calls need no token
    ServerReflectionRequest: 4096,
    # Limited only by the size of messages that the server receives: many forecasts, or a chunk of a bundle.
    PredictBatchRequest: None,
    PredictColumnsRequest: None,
    WarmCacheRequest: None,
    RegisterBundleRequest: None,
}
"""Maximum bytes of the types whose limit is not MAX_BYTES; None: no limit of its own."""

MessageT = TypeVar("MessageT", bound=Message)


class MalformedRequest(DejavuError):
    """The bytes of a request are not a message of its method, or have far more parts than any request needs."""

    reason = "INVALID_MESSAGE"


def checked(message: type[MessageT]) -> Callable[[bytes], MessageT]:
    """Return a decoder of requests of a type; it raises MalformedRequest on other bytes, and on too many parts."""
    most = _BYTES_OF.get(message, MAX_BYTES)

    def deserialize(data: bytes) -> MessageT:
        if most is not None and len(data) > most:
            raise MalformedRequest(f"the request has {len(data)} bytes; expected at most {most}")
        try:
            if len(data) > 2 * MAX_FIELDS:  # each has two bytes at least
                _check_fields(data, cast("Descriptor", message.DESCRIPTOR))
            return message.FromString(data)
        except (DecodeError, ValueError):
            raise MalformedRequest(f"the {len(data)} bytes of the request are not a message of this method") from None

    return deserialize


def _check_fields(data: bytes, message: Descriptor) -> None:
    """Raise MalformedRequest if a message has too many fields; ValueError if it is not a message, or has a group."""
    if next(islice(_fields(data, message), MAX_FIELDS, None), None) is not None:
        raise MalformedRequest(f"the {len(data)} bytes of the request have more than {MAX_FIELDS} fields and elements")


def _fields(data: bytes, message: Descriptor) -> Iterator[int]:
    """Yield the numbers of the fields of a message, and of the messages in it that have lists of messages."""
    lists = _with_lists(message)
    for number, kind, begin, end in fields(data):
        yield number
        if kind == LEN and number in lists:
            yield from _fields(data[begin:end], lists[number])


@cache
def _with_lists(message: Descriptor) -> Mapping[int, Descriptor]:
    """Return the types of a message's fields that have lists of messages themselves, by the number of the field."""
    return {
        field.number: inner
        for field in message.fields
        if (inner := field.message_type) is not None
        and any(each.is_repeated and each.message_type is not None for each in inner.fields)
    }


class Field(NamedTuple):
    """A field of a serialized message.

    Attributes:
        number: its number.
        type: type of its value.
        begin, end: span of the value, without its length.
    """

    number: int
    type: int
    begin: int
    end: int


def fields(data: bytes) -> Iterator[Field]:
    """Yield the fields of a message in their order.

    Raises:
        ValueError: if the bytes are not a message, or have a group.
    """
    at = 0
    try:
        while at < len(data):
            tag, at = _varint(data, at)
            kind = tag & 7
            if kind == VARINT:
                _, end = _varint(data, at)
            elif kind == LEN:
                size, at = _varint(data, at, _MAX_LENGTH_BYTES)
                end = at + size
            elif kind in _FIXED:
                end = at + _FIXED[kind]
            else:
                raise ValueError(f"a value of type {kind}")
            if end > len(data):
                raise ValueError("a value that goes beyond the end")
            yield Field(tag >> 3, kind, at, end)
            at = end
    except IndexError:
        raise ValueError("a number that goes beyond the end") from None


def _varint(data: bytes, at: int, most: int = _MAX_VARINT_BYTES) -> tuple[int, int]:
    """Return a number and where it ends; raise IndexError if it goes beyond the end, ValueError if it is too long."""
    value = 0
    for count in range(most):
        byte = data[at + count]
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, at + count + 1
    raise ValueError(f"a number of more than {most} bytes")
