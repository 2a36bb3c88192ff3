"""The REST form of the Open Inference Protocol: each endpoint is a call of the server's gRPC service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from dejavu.inference import open_inference_pb2 as pb
from dejavu_gateway import upstream
from dejavu_gateway.api.context import asking, context_of, in_line
from dejavu_gateway.http.answers import JSON, json_response
from dejavu_gateway.http.bodies import LARGE_BODY, read_body
from dejavu_gateway.messages.encode import JsonObject, dump
from dejavu_gateway.messages.tensors import (
    binary_refused,
    infer_request,
    infer_response_body,
    model_metadata_body,
    server_metadata_body,
)

BINARY_HEADER: Final = "inference-header-content-length"
"""Header of requests of the binary tensor data extension."""


@dataclass(frozen=True, slots=True)
class InferenceEndpoint:
    """An endpoint.

    Attributes:
        method: HTTP method.
        paths: its paths; they differ in optional parts.
        name: name of the RPC.
        summary: summary of the RPC, for the description of the interface.
        answer: answers a request.
    """

    method: str
    paths: tuple[str, ...]
    name: str
    summary: str
    answer: Callable[[Request], Awaitable[Response]]


def _model_of(request: Request) -> tuple[str, str]:
    """Return name and version of the model that the path names; the version is empty if it has none."""
    return str(request.path_params["modelName"]), str(request.path_params.get("modelVersion", ""))


def _state(body: JsonObject, *, good: bool = True) -> Response:
    code = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return Response(dump(body), code, {"cache-control": "no-store"}, media_type=JSON)


async def server_live(request: Request) -> Response:
    """Report whether the server answers; status 503 if it does not."""
    response = await context_of(request).client.call(upstream.SERVER_LIVE, pb.ServerLiveRequest())
    return _state({"live": response.live})


async def server_ready(request: Request) -> Response:
    """Report whether the server is ready; status 503 if it is not."""
    response = await context_of(request).client.call(upstream.SERVER_READY, pb.ServerReadyRequest())
    return _state({"ready": response.ready}, good=response.ready)


async def model_ready(request: Request) -> Response:
    """Report whether a model is ready; status 503 if it is not."""
    name, version = _model_of(request)
    asked = pb.ModelReadyRequest(name=name, version=version)
    response = await context_of(request).client.call(upstream.MODEL_READY, asked)
    return _state({"name": name, "ready": response.ready}, good=response.ready)


async def server_metadata(request: Request) -> Response:
    """Answer with name and version of the server."""
    response = await context_of(request).client.call(upstream.SERVER_METADATA, pb.ServerMetadataRequest())
    return await json_response(request, dump(server_metadata_body(response)))


async def model_metadata(request: Request) -> Response:
    """Answer with versions and tensors of a model."""
    name, version = _model_of(request)
    asked = pb.ModelMetadataRequest(name=name, version=version)
    response = await context_of(request).client.call(upstream.MODEL_METADATA, asked)
    return await json_response(request, dump(model_metadata_body(response)))


async def model_infer(request: Request) -> Response:
    """Answer with forecasts; all are what-ifs, and none is recorded."""
    context, (name, version) = context_of(request), _model_of(request)
    if BINARY_HEADER in request.headers:
        raise binary_refused(f"header {BINARY_HEADER}")
    with in_line(request):
        asked = await read_body(
            request, lambda value: infer_request(value, name, version), LARGE_BODY, context.bodies, untyped=True
        )
        async with asking(request):
            response = await context.client.call(upstream.MODEL_INFER, asked)
            # In a thread, because browsers would otherwise wait for their events.
            body = await asyncio.to_thread(lambda: dump(infer_response_body(response)))
            return await json_response(request, body)


_MODEL: Final = ("/v2/models/{modelName}", "/v2/models/{modelName}/versions/{modelVersion}")

INFERENCE_ENDPOINTS: Final = (
    InferenceEndpoint("GET", ("/v2", "/v2/"), "ServerMetadata", "Name and version of the server.", server_metadata),
    InferenceEndpoint("GET", ("/v2/health/live",), "ServerLive", "The server answers.", server_live),
    InferenceEndpoint("GET", ("/v2/health/ready",), "ServerReady", "The server may be asked.", server_ready),
    InferenceEndpoint("GET", _MODEL, "ModelMetadata", "Versions and tensors of a model.", model_metadata),
    InferenceEndpoint(
        "GET", tuple(f"{each}/ready" for each in _MODEL), "ModelReady", "The model may be asked.", model_ready
    ),
    InferenceEndpoint(
        "POST", tuple(f"{each}/infer" for each in _MODEL), "ModelInfer", "Forecast games; what-ifs.", model_infer
    ),
)
