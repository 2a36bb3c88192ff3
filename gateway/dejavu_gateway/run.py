"""Runs a gateway in one process: client, application and HTTP server."""

from __future__ import annotations

import gc
import math
import socket

from dejavu_client.access import is_local
from dejavu_client.connection_options import ClientOptions
from dejavu_gateway.app import gateway_app
from dejavu_gateway.http.server import serve
from dejavu_gateway.logs import get_logger
from dejavu_gateway.metrics import GatewayMetrics
from dejavu_gateway.settings import GatewaySettings
from dejavu_gateway.upstream import UpstreamClient

log = get_logger()


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
    async with UpstreamClient(target, slow=math.inf, **access) as client:
        any_host = not is_local(str(settings.listen)) and not settings.hosts
        app, feed = gateway_app(settings, client, metrics, any_host=any_host)
        drained = await serve(app, feed, settings, listener)
    log.info("stopped")
    return 0 if drained else 1
