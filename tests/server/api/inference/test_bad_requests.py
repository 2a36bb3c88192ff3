"""Invalid requests to ModelInfer: each refusal names the tensor, the row and the expected value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.calls import PATTERN, Refusal, details
from tests.support.harness.tensors import Tensor, infer_request, padded, texts
from tests.support.processes.servers import running_worker

from dejavu.inference import open_inference_pb2 as pb
from dejavu.inference.open_inference_pb2_grpc import GRPCInferenceServiceStub
from dejavu_server.api.inference.specification import INPUTS, MAX_ID

INVALID = grpc.StatusCode.INVALID_ARGUMENT
TWO = padded([PATTERN, PATTERN])
HOLED = [*PATTERN[:3], float("nan"), *PATTERN[4:]]


@dataclass(frozen=True)
class Bad:
    """A request that is refused.

    Attributes:
        field: the field that the refusal names.
        found, expected: what its description contains.
    """

    name: str
    request: pb.ModelInferRequest
    field: str
    found: str
    expected: str
    reason: str = "INVALID_TENSOR"
    code: grpc.StatusCode = INVALID


def changed(**changes: Any) -> pb.ModelInferRequest:
    """Return a request whose first input is changed."""
    request = infer_request()
    for name, value in changes.items():
        if name == "shape":
            request.inputs[0].shape[:] = value
        elif name == "contents":
            request.inputs[0].contents.Clear()
            request.inputs[0].contents.fp32_contents.extend(value)
        else:
            setattr(request.inputs[0], name, value)
    return request


def raw(*contents: bytes, **inputs: Tensor) -> pb.ModelInferRequest:
    """Return a request with other raw contents."""
    request = infer_request(inputs, raw=True)
    request.raw_input_contents[:] = contents
    return request


def both() -> pb.ModelInferRequest:
    request = infer_request()
    request.raw_input_contents.append(bytes(8 * len(PATTERN)))
    return request


def shared_memory() -> pb.ModelInferRequest:
    request = infer_request()
    request.inputs[0].parameters["shared_memory_region"].string_param = "region"
    return request


def classified() -> pb.ModelInferRequest:
    request = infer_request(outputs=["point"])
    request.outputs[0].parameters["classification"].int64_param = 3
    return request


def twice() -> pb.ModelInferRequest:
    request = infer_request()
    request.inputs.append(request.inputs[0])
    return request


def beside(request: pb.ModelInferRequest, name: str = "pattern", **others: Any) -> pb.ModelInferRequest:
    """Add contents of another datatype to those of an input."""
    tensor = next(each for each in request.inputs if each.name == name)
    tensor.contents.MergeFrom(pb.InferTensorContents(**others))
    return request


NO_NUMBERS = ("0.1_0", "0.1\n", "nan", "\uff10.\uff11", "0.1" + "0" * 40 + "x")
"""Texts that are no plain number, most of which Python's float takes."""

ROW = bytes(8 * len(PATTERN))

BAD = [
    Bad("no inputs", pb.ModelInferRequest(model_name="dejavu"), "inputs", "no 'pattern'", "[rows, minutes]"),
    Bad("unknown input", infer_request({"odds": Tensor([1.0])}), "inputs[1].name", "'odds'", "one of pattern"),
    Bad("input twice", twice(), "inputs[1].name", "again", "once"),
    Bad("too many rows", changed(shape=[1001, 18]), "pattern.shape", "[1001, 18]", "1 to 1000 rows"),
    Bad("many dimensions", changed(shape=[1] * 5000), "pattern.shape", "5000 dimensions", "minutes]"),
    Bad("too many minutes", changed(shape=[1, 48]), "pattern.shape", "[1, 48]", "1 to 47 minutes"),
    Bad("huge", changed(shape=[1, 2**62]), "pattern.shape", str(2**62), "1 to 47 minutes"),
    Bad("too few values", changed(shape=[2, 18]), "pattern", "18 values", "36"),
    Bad("values elsewhere", changed(contents=PATTERN), "pattern", "0 values in contents.fp64_contents", "18"),
    Bad("texts", changed(datatype="BYTES"), "pattern.datatype", "'BYTES'", "FP64"),
    Bad("typed FP16", changed(datatype="FP16"), "pattern.datatype", "FP16", "raw_input_contents"),
    Bad("raw too short", raw(ROW[:-1]), "pattern", "143 bytes", "144"),
    Bad("raw and typed", both(), "pattern.contents", "contents beside raw_input_contents", "one of them"),
    Bad("raw of one only", raw(ROW, alpha=Tensor([0.1])), "raw_input_contents", "1 contents", "2"),
    Bad("column too long", infer_request({"alpha": Tensor([0.1, 0.2])}), "alpha.shape", "[2]", "[1]"),
    Bad("number as team", infer_request({"home_team": Tensor([1.0])}), "home_team.datatype", "'FP64'", "BYTES"),
    Bad("raw text cut", raw(ROW, b"\x09\0\0\0BOS", home_team=texts("x")), "home_team[0]", "7 bytes", "length"),
    Bad("raw text rest", raw(ROW, b"\x03\0\0\0BOSx", home_team=texts("x")), "home_team", "8 bytes", "7"),
    Bad("not UTF-8", raw(ROW, b"\x01\0\0\0\xff", home_team=texts("x")), "home_team[0]", "1 bytes", "UTF-8"),
    Bad("shared memory", shared_memory(), "pattern.parameters", "'shared_memory_region'", "content_type",
        "INVALID_PARAMETER"),
    Bad("classification", classified(), "point.parameters", "'classification'", "no parameters", "INVALID_PARAMETER"),
    Bad("unknown parameter", infer_request(parameters={"alph": 0.1}), "parameters", "'alph'", "alpha or horizon",
        "INVALID_PARAMETER"),
    Bad("alpha is no number", infer_request(parameters={"alpha": "low"}), "parameters.alpha", "'low'", "a number",
        "INVALID_PARAMETER"),
    Bad("alpha is a truth value", infer_request(parameters={"alpha": True}), "parameters.alpha", "no number",
        "a number", "INVALID_PARAMETER"),
    Bad("alpha too large", infer_request(parameters={"alpha": 1}), "parameters.alpha", "1.0", "between 0 and 1",
        "INVALID_ALPHA"),
    *(Bad(f"alpha is {text!r}", infer_request(parameters={"alpha": text}), "parameters.alpha", repr(text), "a number",
          "INVALID_PARAMETER") for text in NO_NUMBERS),
    Bad("other contents", beside(infer_request(), int_contents=[1]), "pattern.contents",
        "1 values in contents.int_contents", "contents.fp64_contents only"),
    Bad("texts and numbers", beside(infer_request({"home_team": texts("BOS")}), "home_team", fp64_contents=[1.0]),
        "home_team.contents", "1 values in contents.fp64_contents", "contents.bytes_contents only"),
    Bad("alpha twice", infer_request({"alpha": Tensor([0.1])}, parameters={"alpha": 0.1}), "parameters.alpha",
        "beside the input", "one of them", "INVALID_PARAMETER"),
    Bad("no such horizon", infer_request(parameters={"horizon": "end"}), "parameters.horizon", "'end'",
        "halftime or final", "INVALID_HORIZON"),
    Bad("side without seconds", infer_request({"last_score_side": texts("home")}), "inputs", "last_score_seconds",
        "all, or none"),
    Bad("unknown output", infer_request(outputs=["label"]), "outputs[0].name", "'label'", "one of point"),
    Bad("output twice", infer_request(outputs=["point", "point"]), "outputs[1].name", "again", "once"),
    Bad("no levels", infer_request(outputs=["quantiles"]), "outputs[0].name", "'quantiles'", "quantile_levels"),
    Bad("long id", infer_request(id="x" * (MAX_ID + 1)), "id", "1025 characters", "at most 1024",
        "INVALID_REQUEST_ID"),
    # In the second row.
    Bad("hole", infer_request({"pattern": padded([PATTERN, HOLED])}), "pattern[1][3]", "nan", "finite",
        "INVALID_PATTERN"),
    Bad("empty row", infer_request({"pattern": padded([PATTERN, []])}), "pattern[1]", "0 slots", "1 to 23",
        "INVALID_PATTERN"),
    Bad("bad alpha", infer_request({"pattern": TWO, "alpha": Tensor([0.1, 1.5])}), "alpha[1]", "1.5",
        "between 0 and 1", "INVALID_ALPHA"),
    Bad("bad team", infer_request({"pattern": TWO, "away_team": texts("", "XYZ")}), "away_team[1]", "'XYZ'", "BOS",
        "INVALID_TEAM"),
    Bad("one team", infer_request({"pattern": TWO, "home_team": texts("", "BOS")}), "away_team[1]", "none",
        "both teams, or none", "INVALID_TEAM"),
    Bad("half points", infer_request({"pattern": TWO, "total_points": Tensor([-1, 40.5])}), "total_points[1]", "40.5",
        "whole", "INVALID_TOTAL_POINTS"),
    Bad("bad side", infer_request({"last_score_side": texts("left"), "last_score_seconds": Tensor([1], "INT8")}),
        "last_score_side[0]", "'left'", "home or away", "INVALID_LAST_SCORE"),
    Bad("bad site", infer_request({"neutral_site": Tensor([2], "INT32")}), "neutral_site[0]", "2", "0 or 1",
        "INVALID_NEUTRAL_SITE"),
    Bad("no seconds", infer_request({"last_score_side": texts("home"), "last_score_seconds": Tensor([-1], "INT8")}),
        "last_score_seconds[0]", "none", "seconds", "INVALID_LAST_SCORE"),
    Bad("bad level", infer_request({"quantile_levels": Tensor([0.1, 1.0])}), "quantile_levels[1]", "1.0",
        "between 0 and 1", "INVALID_QUANTILE_LEVELS"),
    Bad("too many levels", infer_request({"quantile_levels": Tensor([0.5] * 100)}), "quantile_levels.shape", "[100]",
        "1 to 99 levels"),
    # Not supported by the model.
    Bad("minute", infer_request({"pattern": padded([PATTERN, PATTERN[:5]])}), "pattern[1]", "5 slots", "18",
        "UNSUPPORTED", grpc.StatusCode.FAILED_PRECONDITION),
    Bad("no totals", infer_request({"total_points": Tensor([41])}, outputs=["total_point"]), "outputs[0].name",
        "'total_point'", "a model that forecasts total points", "UNSUPPORTED_TOTALS",
        grpc.StatusCode.FAILED_PRECONDITION),
]  # fmt: skip


@pytest.fixture(scope="module")
def inference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GRPCInferenceServiceStub]:
    with (
        running_worker(tmp_path_factory.mktemp("server")) as address,
        grpc.insecure_channel(address) as channel,
    ):
        yield GRPCInferenceServiceStub(channel)


def refusal(inference: GRPCInferenceServiceStub, request: pb.ModelInferRequest) -> Refusal:
    with pytest.raises(grpc.RpcError) as caught:
        inference.ModelInfer(request)
    return details(cast("grpc.aio.AioRpcError", caught.value))


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_it_names_the_tensor_and_what_was_expected(inference: GRPCInferenceServiceStub, bad: Bad) -> None:
    refused = refusal(inference, bad.request)
    assert (refused.code, refused.reason, refused.metadata["field"]) == (bad.code, bad.reason, bad.field)
    found, _, expected = refused.violations[bad.field].partition("; expected ")
    assert bad.found in found
    assert bad.expected in expected
    assert bad.field in refused.message


def test_all_errors_of_a_row_are_named(inference: GRPCInferenceServiceStub) -> None:
    request = infer_request({"alpha": Tensor([2.0]), "pregame_margin": Tensor([900.0])})
    assert set(refusal(inference, request).violations) == {"alpha[0]", "pregame_margin[0]"}


CONTENTS = st.builds(
    pb.InferTensorContents,
    fp64_contents=st.lists(st.floats(), max_size=4),
    int_contents=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
    bytes_contents=st.lists(st.binary(max_size=4), max_size=3),
)
DATATYPES = ["FP64", "FP32", "FP16", "INT32", "UINT64", "BYTES", "BOOL", ""]


@st.composite
def requests(draw: st.DrawFn) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="dejavu")
    sizes = st.integers(-1, 3) | st.sampled_from([1000, 2**40, -(2**63), 2**63 - 1])
    for name in ["pattern", *draw(st.lists(st.sampled_from([*INPUTS, "other"]), max_size=3))]:
        shape = draw(st.lists(sizes, max_size=3))
        tensor = request.inputs.add(name=name, datatype=draw(st.sampled_from(DATATYPES)), shape=shape)
        if draw(st.booleans()):
            tensor.contents.CopyFrom(draw(CONTENTS))
    if draw(st.booleans()):
        request.raw_input_contents.extend(draw(st.lists(st.binary(max_size=24), max_size=4)))
    for name in draw(st.lists(st.sampled_from(["alpha", "horizon", "other"]), max_size=2)):
        request.parameters[name].string_param = draw(st.text(max_size=4))
    return request


@given(request=requests())
def test_whatever_is_sent_is_answered_or_refused_by_name(
    inference: GRPCInferenceServiceStub, request: pb.ModelInferRequest
) -> None:
    try:
        inference.ModelInfer(request)
    except grpc.RpcError as error:
        refused = details(cast("grpc.aio.AioRpcError", error))
        assert refused.code in {INVALID, grpc.StatusCode.FAILED_PRECONDITION}
        assert refused.metadata["field"] in refused.violations
