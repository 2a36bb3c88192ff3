"""The decoder finds the same fields in the bytes of a message as protobuf."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given
from hypothesis import strategies as st

from dejavu_server.api.decoding import fields

GROUP = 3


@given(st.binary(max_size=40))
def test_of_any_bytes_fields_are_found_as_protobuf_finds_them(data: bytes) -> None:
    try:
        read: Any = UnknownFieldSet(Empty.FromString(data))
    except DecodeError:
        return
    expected = [(each.field_number, each.wire_type) for each in read]
    if any(kind == GROUP for _, kind in expected):
        with pytest.raises(ValueError, match="type 3"):
            list(fields(data))
    else:
        assert [(number, kind) for number, kind, _, _ in fields(data)] == expected


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x0a", id="a field without length"),
        pytest.param(b"\x0a\x05abc", id="a value that is cut off"),
        pytest.param(b"\x09\x00", id="eight bytes that are one"),
        pytest.param(b"\x0d\x00\x00", id="four bytes that are two"),
        pytest.param(b"\x08" + b"\xff" * 12, id="a number without end"),
        pytest.param(b"\x0b\x0c", id="a group"),
        pytest.param(b"\x0f", id="a type that does not exist"),
        pytest.param(b"\xff", id="a tag that is cut off"),
        pytest.param(b"\x0a\x81\x80\x80\x80\x80\x00a", id="a length in six bytes"),
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"a (value|number)"):
        list(fields(data))
