"""What the endpoints share."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, cast

from starlette.requests import HTTPConnection

from dejavu_gateway.live.feed import LiveFeed
from dejavu_gateway.metrics import GatewayMetrics
from dejavu_gateway.settings import GatewaySettings
from dejavu_gateway.upstream import UpstreamClient

CONTEXT_KEY: Final = "dejavu.context"
"""Key of an ASGI scope under which the context is."""


@dataclass(frozen=True, slots=True)
class GatewayContext:
    """What the endpoints of one gateway work with.

    Attributes:
        settings: its settings.
        client: client of the server.
        feed: the live events.
        metrics: its metrics.
        streams: live streams by address.
    """

    settings: GatewaySettings
    client: UpstreamClient
    feed: LiveFeed
    metrics: GatewayMetrics
    streams: Counter[str] = field(default_factory=Counter)


def context_of(connection: HTTPConnection) -> GatewayContext:
    """Returns the context of a request."""
    return cast("GatewayContext", connection.scope[CONTEXT_KEY])


def client_address(connection: HTTPConnection) -> str:
    """Returns the address of a browser: as its reverse proxy says, if that is trusted."""
    peer = connection.client.host if connection.client else ""
    if peer not in context_of(connection).settings.trusted_proxies:
        return peer
    # The last address is the one that the proxy itself saw; those before it, also in headers of their own, are what the
    # browser made it say.
    return ",".join(connection.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()[:64] or peer
