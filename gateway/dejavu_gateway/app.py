"""Puts a gateway together, its routes and the objects that they work with, and runs it."""

from __future__ import annotations

import contextlib
import gc
import math
import socket
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router, WebSocketRoute

from dejavu_client import AsyncDejavuClient
from dejavu_client.access import is_local
from dejavu_client.connection_options import ClientOptions
from dejavu_common.slots import StreamSlots
from dejavu_common.tasks import BackgroundTask
from dejavu_gateway.api import system
from dejavu_gateway.api.calls import CALLS, CallEndpoint
from dejavu_gateway.api.context import CONTEXT_KEY, GatewayContext
from dejavu_gateway.api.downloads import predictions_csv, predictions_parquet
from dejavu_gateway.api.games import GameEndpoints
from dejavu_gateway.api.inference import INFERENCE_ENDPOINTS, InferenceEndpoint
from dejavu_gateway.api.pages import GAME_PATH, PAGE_PATHS, REFERENCE_PATH, WebBuild
from dejavu_gateway.api.pictures import Pictures
from dejavu_gateway.api.share import share_image, share_picture
from dejavu_gateway.api.streams import ServerSentEvents, websocket
from dejavu_gateway.http.bodies import BodyMemory
from dejavu_gateway.http.envelope import Envelope, Receive, Scope, Send
from dejavu_gateway.http.server import serve
from dejavu_gateway.limits import AddressSlots
from dejavu_gateway.live.feed import LiveFeed
from dejavu_gateway.logs import get_logger
from dejavu_gateway.metrics import GatewayMetrics
from dejavu_gateway.settings import GatewaySettings

log = get_logger()


def gateway_app(
    settings: GatewaySettings, client: AsyncDejavuClient, metrics: GatewayMetrics, *, any_host: bool
) -> tuple[Envelope, LiveFeed]:
    """Return the ASGI application of a gateway, and its feed, which runs while the application does.

    Args:
        settings: settings of the gateway.
        client: client of the server; the application does not close it.
        metrics: metrics of the gateway.
        any_host: whether requests for any host name are answered.
    """
    feed = LiveFeed(client, settings, metrics)
    limits = settings.limits
    context = GatewayContext(
        settings,
        client,
        feed,
        metrics,
        StreamSlots(limits.streams, limits.streams_per_address),
        AddressSlots(limits.reads),
        AddressSlots(limits.what_ifs),
        AddressSlots(limits.products),
        BodyMemory(limits.unparsed_bytes),
        Pictures(),
    )
    games, warming = GameEndpoints(), BackgroundTask()

    @contextlib.asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        feed.start()
        warming.start(games.warm(context), "warm")
        try:
            yield
        finally:
            await warming.end()
            await feed.close()

    build = WebBuild(settings.web)
    if build.is_missing:
        log.warning("web_build_missing", folder=str(settings.web))
    # A router without Starlette's application: all errors are answered as JSON in one place, the envelope.
    router = Router(routes(build, games), redirect_slashes=False, lifespan=lifespan)
    not_found = router.default

    async def otherwise(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in {"GET", "HEAD"}:
            response = await build.other(Request(scope))
            await response(scope, receive, send)
        else:
            await not_found(scope, receive, send)

    router.default = otherwise

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope[CONTEXT_KEY], scope["app"] = context, router
        await router(scope, receive, send)

    return Envelope(app, settings, metrics, any_host=any_host), feed


def routes(build: WebBuild, games: GameEndpoints) -> list[Route | WebSocketRoute]:
    """Return the routes of a gateway that serves a build of the page."""
    found: list[Route | WebSocketRoute] = [_route(each, each.path) for each in CALLS]
    found += [_route(each, path) for each in INFERENCE_ENDPOINTS for path in each.paths]
    found += [
        Route("/api/stream", ServerSentEvents()),
        WebSocketRoute("/api/ws", websocket),
        Route("/api/status", system.status, methods=["GET"]),
        Route("/api/predictions.csv", predictions_csv, methods=["GET"]),
        Route("/api/predictions.parquet", predictions_parquet, methods=["GET"]),
        Route("/api/games", games.day, methods=["GET"]),
        Route("/api/games/{gameId}", games.game, methods=["GET"]),
        Route("/share/game/{gameId}.svg", share_image, methods=["GET"]),
        Route("/share/game/{gameId}.png", share_picture, methods=["GET"]),
        Route("/healthz", system.healthz, methods=["GET"]),
        Route("/readyz", system.readyz, methods=["GET"]),
        Route("/metrics", system.metrics, methods=["GET"]),
        Route("/openapi.json", system.openapi, methods=["GET"]),
        Route(REFERENCE_PATH, build.reference, methods=["GET"]),
        Route("/assets/{path:path}", build.asset, methods=["GET"]),
    ]
    found += [Route(path, build.game if path == GAME_PATH else build.page, methods=["GET"]) for path in PAGE_PATHS]
    return found


def _route(endpoint: CallEndpoint | InferenceEndpoint, path: str) -> Route:
    async def answer(request: Request) -> Response:  # Starlette takes a method of a slotted object for an application
        return await endpoint.answer(request)

    return Route(path, answer, methods=[endpoint.method])


async def run(settings: GatewaySettings, target: str, access: ClientOptions, listener: socket.socket) -> int:
    """Serve until a signal.

    Args:
        settings: settings of the gateway.
        target: address of the server.
        access: TLS and token for the server.
        listener: where to listen.

    Returns:
        The exit code: 0 after a drain, 1 if live streams or requests had to be cut off.
    """
    metrics = GatewayMetrics()
    # Otherwise a garbage collection while a body is read would visit all imported objects, which takes longer than
    # reading the body.
    gc.freeze()
    # The gateway's own warnings report slow and failed calls: the client would log a warning for each scorecard.
    async with AsyncDejavuClient(target, slow=math.inf, **access) as client:
        any_host = not is_local(str(settings.listen)) and not settings.hosts
        app, feed = gateway_app(settings, client, metrics, any_host=any_host)
        drained = await serve(app, feed, settings, listener)
    log.info("stopped")
    return 0 if drained else 1
