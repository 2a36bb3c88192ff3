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

NOT_FOUND = grpc.StatusCode.NOT_FOUND
OPTIONAL = {"home_team", "away_team", "horizon", "alpha", "game_date", "pregame_margin", "total_points"}


@pytest.fixture
def inference(channel: grpc.aio.Channel) -> GRPCInferenceServiceAsyncStub:
    return GRPCInferenceServiceStub(channel)


async def test_a_server_that_may_be_asked_nothing_is_live_and_not_ready() -> None:
    service = OpenInferenceService(None, None, HealthService(()))  # type: ignore[arg-type] # it asks neither
    assert (await service.server_live(pb.ServerLiveRequest(), None)).live  # type: ignore[arg-type]
    assert not (await service.server_ready(pb.ServerReadyRequest(), None)).ready  # type: ignore[arg-type]
    assert not (await service.model_ready(pb.ModelReadyRequest(name="dejavu"), None)).ready  # type: ignore[arg-type]


async def test_a_server_that_serves_is_ready_and_names_versions_and_tensors(tmp_path: Path) -> None:
    newer, older = PersistenceForecaster("newer"), PersistenceForecaster("older")
    async with worker_and_channel(tmp_path, newer, older) as (_, channel):
        service: GRPCInferenceServiceAsyncStub = GRPCInferenceServiceStub(channel)
        assert (await service.ServerLive(pb.ServerLiveRequest())).live
        assert (await service.ServerReady(pb.ServerReadyRequest())).ready
        for version in ("", "older"):
            assert (await service.ModelReady(pb.ModelReadyRequest(name="dejavu", version=version))).ready
        server = await service.ServerMetadata(pb.ServerMetadataRequest())
        model = await service.ModelMetadata(pb.ModelMetadataRequest(name="dejavu", version="older"))
        answers = {
            version: (await service.ModelInfer(infer_request(model_version=version))).model_version
            for version in ("", "newer", "older")
        }
    assert (server.name, bool(server.version)) == ("dejavu-server", True)
    assert (model.name, list(model.versions), model.platform) == ("dejavu", ["newer", "older"], "dejavu_bundle")
    assert answers == {"": "newer", "newer": "newer", "older": "older"}
    shapes = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in model.inputs}
    assert shapes["pattern"] == ("FP64", [-1, -1])
    assert shapes.keys() > OPTIONAL
    outputs = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in model.outputs}
    assert outputs["quantiles"] == ("FP64", [-1, -1])
    assert outputs["point"] == ("FP64", [-1])
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
        assert (refused.code, list(refused.violations)) == (NOT_FOUND, [field])
        assert refused.reason == ("UNKNOWN_MODEL" if field.endswith("name") else "UNKNOWN_MODEL_VERSION")


@pytest.mark.parametrize("raw", [False, True])
async def test_an_answer_is_raw_if_the_request_was(inference: GRPCInferenceServiceAsyncStub, *, raw: bool) -> None:
    patterns = [PATTERN, [-each for each in PATTERN]]
    response = await inference.ModelInfer(infer_request({"pattern": padded(patterns)}, raw=raw, id="evening 7"))
    assert (response.model_name, response.model_version, response.id) == ("dejavu", "persistence", "evening 7")
    assert bool(response.raw_output_contents) is raw
    found = columns(response)
    assert found["point"].tolist() == [11.0, -11.0]
    assert found["lower"].tolist() == [1.0, -21.0]
    assert found["upper"].tolist() == [21.0, -1.0]
    assert found["home_lead_probability"].tolist() == [0.75, 0.25]
    assert found.keys() == {"point", "lower", "upper", "home_lead_probability", "expected_margin"}


async def test_a_pattern_may_be_of_any_numeric_datatype(inference: GRPCInferenceServiceAsyncStub) -> None:
    for datatype in NUMERIC:
        for raw in (False, True) if datatype != "FP16" else (True,):  # which has no typed contents
            request = infer_request({"pattern": Tensor([PATTERN], datatype)}, raw=raw)
            assert columns(await inference.ModelInfer(request))["point"].tolist() == [PATTERN[-1]]


async def test_parameters_hold_for_all_rows(
    inference: GRPCInferenceServiceAsyncStub, model: PersistenceForecaster
) -> None:
    alphas: list[float] = []
    model.before = lambda queries: alphas.extend(query.alpha for query in queries)
    for alpha in (0.25, "0.25"):  # clients of earlier versions of the protocol have no fractions
        parameters = {"alpha": alpha, "horizon": "halftime"}
        await inference.ModelInfer(infer_request({"pattern": padded([PATTERN] * 3)}, parameters=parameters))
    assert alphas == [0.25] * 6


async def test_what_a_model_does_not_support_is_refused_by_tensor(inference: GRPCInferenceServiceAsyncStub) -> None:
    short = infer_request({"pattern": padded([PATTERN, PATTERN[:5]])})
    total = infer_request({"total_points": Tensor([41])}, outputs=["total_point"])
    for request, field, reason in (
        (short, "pattern[1]", "UNSUPPORTED"),
        (total, "outputs[0].name", "UNSUPPORTED_TOTALS"),
    ):
        refused = await refusal(inference.ModelInfer(request))
        assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, reason)
        assert list(refused.violations) == [field]


async def test_all_errors_of_a_row_are_named(inference: GRPCInferenceServiceAsyncStub) -> None:
    request = infer_request({"alpha": Tensor([2.0]), "pregame_margin": Tensor([900.0])})
    refused = await refusal(inference.ModelInfer(request))
    assert {*refused.violations} == {"alpha[0]", "pregame_margin[0]"}


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


@given(
    st.builds(
        pb.ModelInferRequest,
        inputs=st.lists(TENSORS, max_size=4),
        raw_input_contents=st.just([]) | st.lists(st.binary(max_size=24), max_size=4),
    )
)
def test_whatever_is_sent_is_read_or_refused_by_name(request_: pb.ModelInferRequest) -> None:
    refused = None
    try:
        tensors = read_inputs(request_)
        reader = RowReader(request_, tensors, "", date(2026, 11, 21))
        for row in range(tensors.rows):
            reader.read(row)
    except FieldError as error:
        refused = error
    assert refused is None or refused.field
