"""The contract for everybody stands alone, and its JSON is what clients rely on; any of its messages, for laws."""

from __future__ import annotations

from typing import Any, cast

from google.protobuf import json_format, message_factory, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st
from tests.support.contract import FILES

from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME, Forecast

MESSAGES: list[type[Message]] = [
    message_factory.GetMessageClass(descriptor)
    for file in FILES
    for descriptor in file.DESCRIPTOR.message_types_by_name.values()
]

NANOS = st.integers(0, 999_999_999)
WELL_KNOWN: dict[str, st.SearchStrategy[Message]] = {
    # Seconds of the years 1 to 9999, the range that the JSON form of a Timestamp knows.
    timestamp_pb2.Timestamp.DESCRIPTOR.full_name: st.builds(
        timestamp_pb2.Timestamp, seconds=st.integers(-62_135_596_800, 253_402_300_799), nanos=NANOS
    ),
}
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(allow_nan=False),
    # The JSON parser rejects the largest float: it compares after rounding to eight digits.
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(-(2.0**127), 2.0**127, width=32),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
}
TEXTS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: st.text(max_size=20),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=40),
}


def values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    """Generate values of a field, including unknown enum numbers: proto3 enums are open."""
    if field.message_type is not None:
        if field.message_type.full_name in WELL_KNOWN:
            return WELL_KNOWN[field.message_type.full_name]
        return messages(message_factory.GetMessageClass(field.message_type))
    if field.enum_type is not None:
        return st.one_of(st.sampled_from([v.number for v in field.enum_type.values]), st.integers(0, 1000))
    return TEXTS[field.type] if field.type in TEXTS else SCALARS[field.cpp_type]


@st.composite
def messages(draw: st.DrawFn, cls: type[Message]) -> Message:
    """Generate messages of a type; set a random subset of the fields and at most one field of each oneof."""
    message = cls()
    taken = set[str]()
    fields = cast("list[FieldDescriptor]", list(cls.DESCRIPTOR.fields))
    for field in draw(st.lists(st.sampled_from(fields), unique_by=lambda f: f.name)) if fields else ():
        oneof = field.containing_oneof
        if oneof is not None:
            if oneof.full_name in taken:
                continue
            taken.add(oneof.full_name)
        if field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(values(field), max_size=3)))
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(draw(values(field)))
        else:
            setattr(message, field.name, draw(values(field)))
    return message


def test_the_contract_for_everybody_needs_nothing_that_is_between_our_own_programs() -> None:
    imports = {(file.DESCRIPTOR.package, needed.package) for file in FILES for needed in file.DESCRIPTOR.dependencies}
    assert {package for package, needed in imports if needed == "dejavu.ops.v1"} == set()
    assert {package for package, needed in imports if needed == "dejavu.v1"} == {"dejavu.v1", "dejavu.ops.v1"}


def test_json_writes_what_clients_rely_on() -> None:
    message = Forecast(sequence=2**60, horizon=HORIZON_HALFTIME, alpha=0.05)
    written = json_format.MessageToDict(message)
    assert written == {"sequence": str(2**60), "horizon": "HORIZON_HALFTIME", "alpha": 0.05}
    assert json_format.ParseDict(written, Forecast()) == message
