"""JSON and query parameters as requests: each wrong field is named with what was expected. Messages as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.contract.test_messages import MESSAGES, messages
from tests.support.harness.laws import examples

from dejavu.v1.forecast_pb2 import HORIZON_FINAL
from dejavu.v1.prediction_service_pb2 import PredictBatchRequest, PredictRequest
from dejavu.v1.record_service_pb2 import ListPredictionsRequest
from dejavu_gateway.http.bodies import LARGE_BODY
from dejavu_gateway.messages.decode import MAX_ITEMS, MAX_VIOLATIONS, from_json, from_query, read_json
from dejavu_gateway.messages.encode import to_json
from dejavu_gateway.messages.errors import RequestRefused
from dejavu_server.api.inference.specification import INPUTS


def refused(value: object, message_type: Any = PredictRequest) -> dict[str, str]:
    """Return the refused fields of a value, with what was expected."""
    with pytest.raises(RequestRefused) as caught:
        from_json(value, message_type)
    assert caught.value.status == 400
    return {each.field: each.description for each in caught.value.fields}


@given(messages(PredictRequest))
def test_what_protobuf_writes_is_read_unless_it_is_not_finite(request: PredictRequest) -> None:
    assume("Infinity" not in json.dumps(MessageToDict(request)))
    assert from_json(MessageToDict(request), PredictRequest) == request
    assert from_json(MessageToDict(request, preserving_proto_field_name=True), PredictRequest) == request


@pytest.mark.parametrize(
    ("value", "field", "expected"),
    [
        ([], "body", "expected a JSON object"),
        ({"pattern": [1, "2"]}, "pattern[1]", '"2"; expected a finite number'),
        ({"pattern": [True]}, "pattern[0]", "true; expected a finite number"),
        ({"pattern": [10**400]}, "pattern[0]", "expected a finite number"),
        ({"horizon": "FINAL"}, "horizon", "expected one of HORIZON_UNSPECIFIED, HORIZON_HALFTIME, HORIZON_FINAL"),
        ({"gameId": 22300001}, "gameId", "expected a text"),
        ({"gameId": "\ud800"}, "gameId", "expected a text"),
        ({"returnExplanation": 1}, "returnExplanation", "expected true or false"),
        ({"markets": [{"above": {"american": 1.5}}]}, "markets[0].above.american", "a whole number from -2147483648"),
        ({"patern": [1]}, "patern", "unknown field; expected some of gameId, pattern, alpha"),
        ({"gameId": "a", "game_id": "b"}, "game_id", "is given twice, in both spellings"),
        (
            {"markets": [{}, {"above": {"decimal": 2, "american": 100}}]},
            "markets[1].above.american",
            "is given beside decimal; expected one of them",
        ),
        ({"pattern": [0] * 1001}, "pattern", "1001 elements; expected at most 300"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(value: object, field: str, expected: str) -> None:
    found = refused(value)
    assert list(found) == [field]
    assert expected in found[field]


def test_wrong_requests_of_a_batch_are_named_by_index_and_not_without_end() -> None:
    found = refused({"requests": [{"alpha": 0.1}, {"alpha": "x"}, {"pattern": [0, "x"]}]}, PredictBatchRequest)
    assert list(found) == ["requests[1].alpha", "requests[2].pattern[1]"]
    assert len(refused({"pattern": ["x"] * 100})) == MAX_VIOLATIONS


NO_JSON = (b"", b"{", b"\xff", b'{"a":1,"a":2}', b"[NaN]", b"[" * 59_900, b'{"a":' * 40, b"1" * 5000)
TOO_MANY = (b"[" + b"0," * 70_000, b'{"requests":[' + b"{}," * 5000, b'{"x":0' + b',"x":0' * 30_000 + b"}")


@pytest.mark.parametrize(
    ("bodies", "said"), [(NO_JSON, "body"), (TOO_MANY, "more than 64000 values, 2048 objects or 8192 members")]
)
def test_a_body_that_is_no_json_or_has_more_parts_than_any_request_is_refused(bodies: list[bytes], said: str) -> None:
    for body in bodies:
        with pytest.raises(RequestRefused, match=said):
            read_json(body)


def test_the_largest_requests_are_read() -> None:
    """The limits come from them."""
    plain = {"pattern": [-12] * 47, "horizon": "HORIZON_FINAL", "homeTeam": "BOS", "awayTeam": "LAL", "alpha": 0.05}
    column = {"name": "x", "shape": [1000], "datatype": "FP64", "data": [-12.5] * 1000}
    columns = [column] * (len(INPUTS) - 1)
    tensors = {
        "inputs": [{"name": "x", "shape": [1000, 47], "datatype": "FP64", "data": [[-12] * 47] * 1000}, *columns]
    }
    for body in ({"requests": [plain] * MAX_ITEMS}, tensors):
        text = json.dumps(body)
        assert len(text) < LARGE_BODY
        assert read_json(text.encode()) == body


def test_query_parameters_are_the_fields_of_a_request() -> None:
    query = [
        ("pageSize", "20"),
        ("horizon", "HORIZON_FINAL"),
        ("settled", "false"),
        ("minConfidence", "0.8"),
        ("team", "BOS"),
    ]
    request, others = from_query([*query, ("metric", "x")], ListPredictionsRequest, ("metric",))
    assert request == ListPredictionsRequest(
        page_size=20, horizon=HORIZON_FINAL, settled=False, min_confidence=0.8, team="BOS"
    )
    assert others == {"metric": "x"}
    assert from_query([("page_size", "20")], ListPredictionsRequest)[0].page_size == 20


@pytest.mark.parametrize(
    ("query", "field", "expected"),
    [
        ([("page", "1")], "page", "unknown parameter; expected some of pageSize, pageToken"),
        ([("pageSize", "1"), ("page_size", "2")], "pageSize", "is given twice"),
        ([("pageSize", "1.5")], "pageSize", "expected a whole number"),
        ([("pageSize", "2147483648")], "pageSize", "expected a whole number"),
        ([("pageSize", "9" * 5000)], "pageSize", "expected a whole number"),
        ([("pageSize", "²")], "pageSize", "expected a whole number"),
        ([("minConfidence", "nan")], "minConfidence", "expected a finite number"),
        ([("settled", "maybe")], "settled", "expected true or false"),
        ([("horizon", "end")], "horizon", "expected one of"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_was_expected(
    query: list[tuple[str, str]], field: str, expected: str
) -> None:
    with pytest.raises(RequestRefused) as caught:
        from_query(query, ListPredictionsRequest)
    assert [each.field for each in caught.value.fields] == [field]
    assert expected in caught.value.fields[0].description


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: str(cls.DESCRIPTOR.name))
def test_a_message_is_written_as_protobuf_writes_it(cls: type[Message]) -> None:
    @settings(max_examples=examples(3))
    @given(st.data())
    def same(data: st.DataObject) -> None:
        message = data.draw(messages(cls))
        written = json.loads(to_json(message))
        assert written == MessageToDict(message, always_print_fields_with_no_presence=True)
        assert ParseDict(written, cls()) == message

    same()
