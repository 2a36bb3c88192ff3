"""GRPCInferenceService over the wire: descriptions of server and model, and the meaning of each form of a request."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.calls import PATTERN, refusal
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.harness.tensors import NUMERIC, Tensor, columns, infer_request, padded
from tests.support.processes.servers import worker_and_channel

from dejavu.inference import open_inference_pb2 as pb
from dejavu.inference.open_inference_pb2_grpc import GRPCInferenceServiceStub
from dejavu_models.errors import FieldError
from dejavu_server.access.policy import CallKind, kind_of
from dejavu_server.api.health import HealthService
from dejavu_server.api.inference.inference_service import OpenInferenceService
from dejavu_server.api.inference.queries import RowReader
from dejavu_server.api.inference.specification import INPUTS
from dejavu_server.api.inference.tensors import read_inputs

if TYPE_CHECKING:
    from dejavu.inference.open_inference_pb2_grpc import GRPCInferenceServiceAsyncStub


@pytest.fixture
def inference(channel: grpc.aio.Channel) -> GRPCInferenceServiceAsyncStub:
    return GRPCInferenceServiceStub(channel)


async def test_a_server_that_serves_is_ready_and_names_versions_and_tensors(tmp_path: Path) -> None:
    newer, older = PersistenceForecaster("newer"), PersistenceForecaster("older")
    async with worker_and_channel(tmp_path, newer, older) as (_, channel):
        service: GRPCInferenceServiceAsyncStub = GRPCInferenceServiceStub(channel)
        for version in ("", "older"):
            assert (await service.ModelReady(pb.ModelReadyRequest(name="dejavu", version=version))).ready
        server = await service.ServerMetadata(pb.ServerMetadataRequest())
        model = await service.ModelMetadata(pb.ModelMetadataRequest(name="dejavu", version="older"))
        answers = [
            (await service.ModelInfer(infer_request(model_version=each))).model_version for each in ("", "older")
        ]
        assert (await service.ServerReady(pb.ServerReadyRequest())).ready
    unready: Any = OpenInferenceService(None, None, HealthService(()))  # type: ignore[arg-type] # it asks neither
    assert (await unready.server_live(pb.ServerLiveRequest(), None)).live
    assert not (await unready.server_ready(pb.ServerReadyRequest(), None)).ready
    assert not (await unready.model_ready(pb.ModelReadyRequest(name="dejavu"), None)).ready
    assert (server.name, bool(server.version)) == ("dejavu-server", True)
    assert (model.name, list(model.versions), model.platform) == ("dejavu", ["newer", "older"], "dejavu_bundle")
    assert answers == ["newer", "older"]
    inputs = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in model.inputs}
    assert inputs["pattern"] == ("FP64", [-1, -1])
    assert inputs.keys() > {"home_team", "away_team", "horizon", "alpha", "game_date", "pregame_margin", "total_points"}
    outputs = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in model.outputs}
    assert (outputs["quantiles"], outputs["point"]) == (("FP64", [-1, -1]), ("FP64", [-1]))
    assert "total_point" not in outputs  # this model does not forecast totals


async def test_a_model_or_version_that_is_not_here_is_not_found(inference: GRPCInferenceServiceAsyncStub) -> None:
    calls: dict[str, Awaitable[Any]] = {
        "name": inference.ModelReady(pb.ModelReadyRequest(name="resnet")),
        "version": inference.ModelReady(pb.ModelReadyRequest(name="dejavu", version="7")),
        "model_name": inference.ModelInfer(infer_request(model_name="")),
        "model_version": inference.ModelInfer(infer_request(model_version="7")),
    }
    for field, call in calls.items():
        refused = await refusal(call)
        assert (refused.code, list(refused.violations)) == (grpc.StatusCode.NOT_FOUND, [field])
        assert refused.reason == ("UNKNOWN_MODEL" if field.endswith("name") else "UNKNOWN_MODEL_VERSION")


async def test_datatypes_and_parameters_of_clients_are_read(
    inference: GRPCInferenceServiceAsyncStub, model: PersistenceForecaster
) -> None:
    for datatype in NUMERIC:
        for raw in (False, True) if datatype != "FP16" else (True,):  # which has no typed contents
            response = await inference.ModelInfer(infer_request({"pattern": Tensor([PATTERN], datatype)}, raw=raw))
            assert bool(response.raw_output_contents) is raw
            assert columns(response)["point"].tolist() == [PATTERN[-1]]
    alphas: list[float] = []
    model.before = lambda queries: alphas.extend(query.alpha for query in queries)
    for alpha in (0.25, "0.25"):  # clients of earlier versions of the protocol have no fractions
        parameters = {"alpha": alpha, "horizon": "halftime"}
        request = infer_request({"pattern": padded([PATTERN] * 3)}, parameters=parameters, id="evening 7")
        assert (await inference.ModelInfer(request)).id == "evening 7"
    assert alphas == [0.25] * 6


async def test_what_a_model_does_not_support_is_refused_by_tensor(inference: GRPCInferenceServiceAsyncStub) -> None:
    for request, fields, reason in (
        (infer_request({"pattern": padded([PATTERN, PATTERN[:5]])}), {"pattern[1]"}, "UNSUPPORTED"),
        (
            infer_request({"total_points": Tensor([41])}, outputs=["total_point"]),
            {"outputs[0].name"},
            "UNSUPPORTED_TOTALS",
        ),
        (
            infer_request({"alpha": Tensor([2.0]), "pregame_margin": Tensor([900.0])}),
            {"alpha[0]", "pregame_margin[0]"},
            "INVALID_ALPHA",
        ),
    ):
        refused = await refusal(inference.ModelInfer(request))
        assert (refused.reason, {*refused.violations}) == (reason, fields)


def test_tensors_are_limited_as_batches_are() -> None:
    assert kind_of("/inference.GRPCInferenceService/ModelInfer") is CallKind.BATCH


CONTENTS = st.builds(
    pb.InferTensorContents,
    fp64_contents=st.lists(st.floats(), max_size=4),
    int_contents=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
    bytes_contents=st.lists(st.binary(max_size=4), max_size=3),
)
TENSORS = st.builds(
    pb.ModelInferRequest.InferInputTensor,
    name=st.sampled_from(["pattern", *INPUTS, "other"]),
    datatype=st.sampled_from(["FP64", "FP32", "FP16", "INT32", "UINT64", "BYTES", "BOOL", ""]),
    shape=st.lists(st.integers(-1, 3) | st.sampled_from([1000, 2**40, -(2**63), 2**63 - 1]), max_size=3),
    contents=st.none() | CONTENTS,
)


@given(st.lists(TENSORS, max_size=4), st.lists(st.binary(max_size=24), max_size=4))
def test_whatever_is_sent_is_read_or_refused_by_name(
    inputs: list[pb.ModelInferRequest.InferInputTensor], raw: list[bytes]
) -> None:
    request = pb.ModelInferRequest(inputs=inputs, raw_input_contents=raw)
    try:
        tensors = read_inputs(request)
        reader = RowReader(request, tensors, "", date(2026, 11, 21))
        for row in range(tensors.rows):
            reader.read(row)
    except FieldError as error:
        assert error.field  # noqa: PT017 - most requests are refused
