"""GRPCInferenceService over the wire: descriptions of server and model, and the meaning of each form of a request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from tests.support.builders.calls import PATTERN, refusal
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.harness.tensors import NUMERIC, Tensor, columns, infer_request, padded, texts
from tests.support.processes.servers import async_worker

from dejavu.inference import open_inference_pb2 as pb
from dejavu.inference.open_inference_pb2_grpc import GRPCInferenceServiceStub
from dejavu_server.api.health import HealthService
from dejavu_server.api.inference.inference_service import OpenInferenceService

if TYPE_CHECKING:
    from dejavu.inference.open_inference_pb2_grpc import GRPCInferenceServiceAsyncStub

NOT_FOUND = grpc.StatusCode.NOT_FOUND
OPTIONAL = {"home_team", "away_team", "horizon", "alpha", "game_date", "pregame_margin", "total_points"}


@pytest.fixture
def inference(channel: grpc.aio.Channel) -> GRPCInferenceServiceAsyncStub:
    return GRPCInferenceServiceStub(channel)


async def test_a_server_that_serves_is_live_and_ready_with_its_model(
    inference: GRPCInferenceServiceAsyncStub,
) -> None:
    assert (await inference.ServerLive(pb.ServerLiveRequest())).live
    assert (await inference.ServerReady(pb.ServerReadyRequest())).ready
    for version in ("", "persistence"):
        assert (await inference.ModelReady(pb.ModelReadyRequest(name="dejavu", version=version))).ready


@pytest.mark.parametrize("reason", ["starts", "drains", "hangs", "has no models"])
async def test_a_server_that_may_be_asked_nothing_is_live_and_not_ready(reason: str) -> None:
    health = HealthService(())
    if reason != "starts":
        health.serve()
    match reason:
        case "drains":
            health.drain()
        case "hangs":
            health.set_ready(False)
        case "has no models":
            health.set_models_loaded(False)
    service = OpenInferenceService(None, None, health)  # type: ignore[arg-type] # it asks neither
    assert (await service.server_live(pb.ServerLiveRequest(), None)).live  # type: ignore[arg-type]
    assert not (await service.server_ready(pb.ServerReadyRequest(), None)).ready  # type: ignore[arg-type]
    assert not (await service.model_ready(pb.ModelReadyRequest(name="dejavu"), None)).ready  # type: ignore[arg-type]


async def test_metadata_name_versions_and_every_tensor(tmp_path: Path) -> None:
    newer, older = PersistenceForecaster("newer"), PersistenceForecaster("older")
    async with (
        async_worker(tmp_path, newer, older) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        service: GRPCInferenceServiceAsyncStub = GRPCInferenceServiceStub(channel)
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


async def test_what_is_not_given_in_a_row_is_not_given(inference: GRPCInferenceServiceAsyncStub) -> None:
    nothing = {
        "alpha": Tensor([np.nan]),
        "pregame_margin": Tensor([np.nan], "FP32"),
        "total_points": Tensor([-1], "INT16"),
        "home_team": texts(""),
        "away_team": texts(""),
        "horizon": texts(""),
        "game_date": texts(""),
        "last_score_side": texts(""),
        "last_score_seconds": Tensor([-1], "INT32"),
    }
    bare = columns(await inference.ModelInfer(infer_request()))
    empty = columns(await inference.ModelInfer(infer_request(nothing, outputs=list(bare))))
    for name, values in bare.items():
        np.testing.assert_array_equal(values, empty[name])


async def test_parameters_hold_for_all_rows(
    inference: GRPCInferenceServiceAsyncStub, model: PersistenceForecaster
) -> None:
    alphas: list[float] = []
    model.before = lambda queries: alphas.extend(query.alpha for query in queries)
    for alpha in (0.25, "0.25"):  # clients of earlier versions of the protocol have no fractions
        parameters = {"alpha": alpha, "horizon": "halftime"}
        await inference.ModelInfer(infer_request({"pattern": padded([PATTERN] * 3)}, parameters=parameters))
    assert alphas == [0.25] * 6


async def test_tensors_are_limited_as_batches_are(tmp_path: Path) -> None:
    """While one request is computed, a second one has no room and is refused; control calls are not."""
    model, entered, go_on = PersistenceForecaster(), threading.Event(), threading.Event()

    def wait(_: object) -> None:
        entered.set()
        go_on.wait(30)

    async with (
        async_worker(tmp_path, model, max_in_flight=2) as worker,  # half of which may be batches
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        model.before = wait
        service: GRPCInferenceServiceAsyncStub = GRPCInferenceServiceStub(channel)
        first = asyncio.ensure_future(service.ModelInfer(infer_request()))
        try:
            assert await asyncio.to_thread(entered.wait, 30)
            refused = await refusal(service.ModelInfer(infer_request()))
            live = await service.ServerLive(pb.ServerLiveRequest())
        finally:
            go_on.set()
        answered = await first
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert live.live
    assert columns(answered)["point"].tolist() == [11.0]
