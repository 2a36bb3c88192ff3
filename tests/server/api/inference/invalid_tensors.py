"""Invalid requests to ModelInfer: reason → field, found, expected and request; rows of the table of bad requests."""

from __future__ import annotations

import math
from typing import Any

from tests.support.builders.calls import PATTERN
from tests.support.harness.tensors import MODEL, Tensor, infer_request, padded, texts

from dejavu.inference import open_inference_pb2 as pb
from dejavu_server.api.inference.specification import MAX_ID

INFER = "/inference.GRPCInferenceService/ModelInfer"
Request = pb.ModelInferRequest

_TWO = padded([PATTERN, PATTERN])
_ROW = bytes(8 * len(PATTERN))
_BOS = texts("BOS")
_VALUES = pb.InferTensorContents(fp64_contents=PATTERN)


def _input(**changes: Any) -> pb.ModelInferRequest.InferInputTensor:
    usual = {"name": "pattern", "datatype": "FP64", "shape": [1, len(PATTERN)], "contents": _VALUES}
    return Request.InferInputTensor(**{**usual, **changes})


def _inputs(*inputs: pb.ModelInferRequest.InferInputTensor, **fields: Any) -> pb.ModelInferRequest:
    return Request(model_name=MODEL, inputs=inputs, **fields)


def _raw(*contents: bytes, **inputs: Tensor) -> pb.ModelInferRequest:
    """Return a request with other raw contents."""
    request = infer_request(inputs, raw=True)
    request.raw_input_contents[:] = contents
    return request


def _alpha(value: object) -> pb.ModelInferRequest:
    return infer_request(parameters={"alpha": value})


INVALID_INFERENCES = {
    "INVALID_TENSOR": [
        ("inputs", "no 'pattern'", "[rows, minutes]", _inputs()),
        ("inputs[1].name", "'odds'", "one of pattern", infer_request({"odds": Tensor([1.0])})),
        ("inputs[1].name", "again", "once", _inputs(_input(), _input())),
        ("pattern.shape", "[1001, 18]", "1 to 1000 rows", _inputs(_input(shape=[1001, 18]))),
        ("pattern.shape", "5000 dimensions", "minutes]", _inputs(_input(shape=[1] * 5000))),
        ("pattern.shape", "[1, 48]", "1 to 47 minutes", _inputs(_input(shape=[1, 48]))),
        ("pattern.shape", str(2**62), "1 to 47 minutes", _inputs(_input(shape=[1, 2**62]))),
        ("pattern", "18 values", "36", _inputs(_input(shape=[2, 18]))),
        ("pattern", "0 values in contents.fp64_contents", "18",
         _inputs(_input(contents=pb.InferTensorContents(fp32_contents=PATTERN)))),
        ("pattern.contents", "1 values in contents.int_contents", "contents.fp64_contents only",
         _inputs(_input(contents=pb.InferTensorContents(fp64_contents=PATTERN, int_contents=[1])))),
        ("pattern.datatype", "'BYTES'", "FP64", _inputs(_input(datatype="BYTES"))),
        ("pattern.datatype", "FP16", "raw_input_contents", _inputs(_input(datatype="FP16"))),
        ("pattern", "143 bytes", "144", _raw(_ROW[:-1])),
        ("pattern.contents", "contents beside raw_input_contents", "one of them",
         _inputs(_input(), raw_input_contents=[_ROW])),
        ("raw_input_contents", "1 contents", "2", _raw(_ROW, alpha=Tensor([0.1]))),
        ("alpha.shape", "[2]", "[1]", infer_request({"alpha": Tensor([0.1, 0.2])})),
        ("home_team.datatype", "'FP64'", "BYTES", infer_request({"home_team": Tensor([1.0])})),
        ("home_team.contents", "1 values in contents.fp64_contents", "contents.bytes_contents only",
         _inputs(_input(), _input(name="home_team", datatype="BYTES", shape=[1],
                                  contents=pb.InferTensorContents(bytes_contents=[b"BOS"], fp64_contents=[1.0])))),
        ("home_team[0]", "7 bytes", "length", _raw(_ROW, b"\x09\0\0\0BOS", home_team=_BOS)),
        ("home_team", "8 bytes", "7", _raw(_ROW, b"\x03\0\0\0BOSx", home_team=_BOS)),
        ("home_team[0]", "1 bytes", "UTF-8", _raw(_ROW, b"\x01\0\0\0\xff", home_team=_BOS)),
        ("inputs", "last_score_seconds", "all, or none", infer_request({"last_score_side": texts("home")})),
        ("outputs[0].name", "'label'", "one of point", infer_request(outputs=["label"])),
        ("outputs[1].name", "again", "once", infer_request(outputs=["point", "point"])),
        ("outputs[0].name", "'quantiles'", "quantile_levels", infer_request(outputs=["quantiles"])),
        ("quantile_levels.shape", "[100]", "1 to 99 levels", infer_request({"quantile_levels": Tensor([0.5] * 100)}))],
    "INVALID_PARAMETER": [
        ("pattern.parameters", "'shared_memory_region'", "content_type",
         _inputs(_input(parameters={"shared_memory_region": pb.InferParameter(string_param="region")}))),
        ("point.parameters", "'classification'", "no parameters", _inputs(_input(), outputs=[
            Request.InferRequestedOutputTensor(
                name="point", parameters={"classification": pb.InferParameter(int64_param=3)})])),
        ("parameters", "'alph'", "alpha or horizon", infer_request(parameters={"alph": 0.1})),
        ("parameters.alpha", "no number", "a number", _alpha(value=True)),
        # Texts that are no plain number, most of which Python's float takes.
        *(("parameters.alpha", repr(text), "a number", _alpha(text)) for text in (
            "low", "0.1_0", "0.1\n", "nan", "\uff10.\uff11", "0.1" + "0" * 40 + "x")),
        ("parameters.alpha", "beside the input", "one of them",
         infer_request({"alpha": Tensor([0.1])}, parameters={"alpha": 0.1}))],
    "INVALID_ALPHA": [
        ("parameters.alpha", "1.0", "between 0 and 1", _alpha(1)),
        ("alpha[1]", "1.5", "between 0 and 1", infer_request({"pattern": _TWO, "alpha": Tensor([0.1, 1.5])}))],
    "INVALID_HORIZON": [
        ("parameters.horizon", "'end'", "halftime or final", infer_request(parameters={"horizon": "end"}))],
    "INVALID_REQUEST_ID": [("id", "1025 characters", "at most 1024", infer_request(id="x" * (MAX_ID + 1)))],
    "INVALID_PATTERN": [
        ("pattern[1][1]", "nan", "finite", infer_request({"pattern": padded([[1, 2, 3], [1, math.nan, 3]])})),
        ("pattern[1]", "0 slots", "1 to 23", infer_request({"pattern": padded([PATTERN, []])}))],
    "INVALID_TEAM": [
        ("away_team[1]", "'XYZ'", "BOS", infer_request({"pattern": _TWO, "away_team": texts("", "XYZ")})),
        ("away_team[1]", "none", "both teams", infer_request({"pattern": _TWO, "home_team": texts("", "BOS")}))],
    "INVALID_TOTAL_POINTS": [
        ("total_points[1]", "40.5", "whole", infer_request({"pattern": _TWO, "total_points": Tensor([-1, 40.5])}))],
    "INVALID_LAST_SCORE": [
        ("last_score_side[0]", "'left'", "home or away",
         infer_request({"last_score_side": texts("left"), "last_score_seconds": Tensor([1], "INT8")})),
        ("last_score_seconds[0]", "none", "seconds",
         infer_request({"last_score_side": texts("home"), "last_score_seconds": Tensor([-1], "INT8")}))],
    "INVALID_NEUTRAL_SITE": [
        ("neutral_site[0]", "2", "0 or 1", infer_request({"neutral_site": Tensor([2], "INT32")}))],
    "INVALID_QUANTILE_LEVELS": [
        ("quantile_levels[1]", "1.0", "between 0 and 1", infer_request({"quantile_levels": Tensor([0.1, 1.0])}))],
}  # fmt: skip
