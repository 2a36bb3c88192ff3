"""Just as much of protobuf's wire format as finds the requests of a batch, and their numbers, without parsing them.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

VARINT: Final = 0
I64: Final = 1
LEN: Final = 2
I32: Final = 5
"""Types of values; the two others begin and end groups, which no message of this contract has."""

_FIXED: Final = {I64: 8, I32: 4}

_MAX_VARINT_BYTES: Final = 10
_MAX_LENGTH_BYTES: Final = 5

Span = tuple[int, int]
"""Where something begins in its bytes, and where it ends."""


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


def message_spans(data: bytes, number: int, most: int) -> list[Span] | None:
    """Returns where the messages of a repeated field are in a message that has no other field.

    Args:
        data: the serialized message.
        number: number of the field, up to 15.
        most: most messages to look for.

    Returns:
        Their spans; None if there is anything else, or more than `most`.
    """
    tag, at, spans = number << 3 | LEN, 0, list[Span]()
    try:
        # All of one length, as in most batches: compared in steps instead of read one by one.
        size, begin = _varint(data, 1, _MAX_LENGTH_BYTES)
        step = begin + size
        count, rest = divmod(len(data), step)
        if (
            not rest
            and count <= most
            and all(data[place::step] == data[place : place + 1] * count for place in range(begin))
        ):
            messages = [(at + begin, at + step) for at in range(0, len(data), step)]
            return messages if data[0] == tag else None
        while at < len(data):
            if data[at] != tag or len(spans) == most:
                return None
            size, at = data[at + 1], at + 2
            if size > 0x7F:
                size, at = _varint(data, at - 1, _MAX_LENGTH_BYTES)
            spans.append((at, at := at + size))
    except (IndexError, ValueError):
        return None
    return spans if at == len(data) else None


def fields(data: bytes) -> Iterator[Field]:
    """Yields the fields of a message in their order.

    Raises:
        ValueError: if the bytes are no message, or have a group.
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
    """Returns a number and where it ends; raises IndexError if it goes beyond the end, ValueError if it is too long."""
    value = 0
    for count in range(most):
        byte = data[at + count]
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, at + count + 1
    raise ValueError(f"a number of more than {most} bytes")
