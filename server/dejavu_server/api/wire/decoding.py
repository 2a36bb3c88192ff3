"""Decodes requests: what is no message, or has far more parts than any request, is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Final, TypeVar, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from dejavu.inference.open_inference_pb2 import ModelInferRequest
from dejavu_models.errors import DejavuError
from dejavu_server.api.wire.format import LEN, fields

MAX_FIELDS: Final = 4096
"""Most fields of a request, elements of its lists included: a stream of the most games has 2001.

To parse an empty message takes 0.1 µs and makes 100 bytes of its two: half a million of them cost more than a batch.
"""

MAX_BYTES: Final[Mapping[type[Message], int]] = {ModelInferRequest: 768 * 1024}
"""Largest requests where the largest message is more than any needs. Numbers and texts of tensors become up to sixteen
times as large when they are parsed; the most rows, as whole numbers that are negative, have 600 kB."""

MessageT = TypeVar("MessageT", bound=Message)


class MalformedRequest(DejavuError):
    """The bytes of a request are no message of its method, or far more than any request has."""

    reason = "INVALID_MESSAGE"


def checked(message: type[MessageT]) -> Callable[[bytes], MessageT]:
    """Returns what decodes requests, and raises MalformedRequest on bytes that are none, or have too many fields."""
    most = MAX_BYTES.get(message)

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
    """Raises MalformedRequest if a message has too many fields; ValueError if it is none, or has a group."""
    if next(islice(_fields(data, message), MAX_FIELDS, None), None) is not None:
        raise MalformedRequest(f"the {len(data)} bytes of the request have more than {MAX_FIELDS} fields and elements")


def _fields(data: bytes, message: Descriptor) -> Iterator[int]:
    """Yields the numbers of the fields of a message, and of those of its messages that have lists of messages."""
    lists = _with_lists(message)
    for number, kind, begin, end in fields(data):
        yield number
        if kind == LEN and number in lists:
            yield from _fields(data[begin:end], lists[number])


@cache
def _with_lists(message: Descriptor) -> Mapping[int, Descriptor]:
    """Returns the messages in a message that have lists of messages themselves, by the number of their field."""
    return {
        field.number: inner
        for field in message.fields
        if (inner := field.message_type) is not None
        and any(each.is_repeated and each.message_type is not None for each in inner.fields)
    }
