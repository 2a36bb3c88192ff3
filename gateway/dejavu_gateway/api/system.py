"""The gateway's own state: status of the server, health, metrics, and the description of the interface."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from dejavu_gateway.api.context import context_of
from dejavu_gateway.api.openapi import document
from dejavu_gateway.http.answers import JSON, json_response
from dejavu_gateway.messages.encode import dump


async def status(request: Request) -> Response:
    """GET /api/status: status of the server."""
    return Response(dump(context_of(request).feed.status()), headers={"cache-control": "no-store"}, media_type=JSON)


async def healthz(_request: Request) -> Response:
    """GET /healthz: whether this process is alive."""
    return Response(dump({"status": "ok"}), headers={"cache-control": "no-store"}, media_type=JSON)


async def readyz(request: Request) -> Response:
    """GET /readyz: whether the server answers, and this process does not drain."""
    context = context_of(request)
    ready = context.feed.board.report.serving and not context.feed.draining
    code = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    return Response(dump(context.feed.status()), code, {"cache-control": "no-store"}, media_type=JSON)


async def metrics(request: Request) -> Response:
    """GET /metrics: Prometheus metrics."""
    text = generate_latest(context_of(request).metrics.registry)
    return Response(text, headers={"cache-control": "no-store"}, media_type=CONTENT_TYPE_LATEST)


async def openapi(request: Request) -> Response:
    """GET /openapi.json: the description of this interface."""
    return await json_response(request, _openapi())


@cache
def _openapi() -> bytes:
    return dump(document())
