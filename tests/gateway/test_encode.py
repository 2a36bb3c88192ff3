"""Messages as JSON: the same as protobuf's own JSON mapping, for every message of the contract."""

from __future__ import annotations

import json

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.test_messages import MESSAGES, messages
from tests.support.harness.laws import examples

from dejavu_gateway.messages.encode import to_json


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: str(cls.DESCRIPTOR.name))
def test_a_message_is_written_as_protobuf_writes_it(cls: type[Message]) -> None:
    @settings(max_examples=examples(12))
    @given(st.data())
    def same(data: st.DataObject) -> None:
        message = data.draw(messages(cls))
        written = json.loads(to_json(message))
        assert written == MessageToDict(message, always_print_fields_with_no_presence=True)
        assert ParseDict(written, cls()) == message

    same()
