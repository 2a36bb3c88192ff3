"""Objects that the endpoints share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from starlette.requests import HTTPConnection, Request

from dejavu_client import AsyncDejavuClient
from dejavu_common.slots import NoSlotError, StreamSlots, TooManyWaitError
from dejavu_gateway.api.pictures import Pictures
from dejavu_gateway.http.bodies import BodyMemory
from dejavu_gateway.http.envelope import browser_address, is_foreign_origin
from dejavu_gateway.limits import AddressSlots
from dejavu_gateway.live.feed import LiveFeed
from dejavu_gateway.messages.errors import too_many_requests
from dejavu_gateway.metrics import GatewayMetrics
from dejavu_gateway.settings import GatewaySettings

CONTEXT_KEY: Final = "dejavu.context"
"""Key of the context in an ASGI scope."""


@dataclass(frozen=True, slots=True)
class GatewayContext:
    """Objects of one gateway, for its endpoints.

    Attributes:
        settings: its settings.
        client: client of the server.
        feed: the live events.
        metrics: its metrics.
        streams: slots of the live streams.
        reads: slots of requests for which the server reads.
        what_ifs: slots of requests for which the server computes.
        products: slots of requests for which the gateway makes a picture, or a file of many forecasts.
        bodies: bytes of the bodies that are received, but not parsed yet.
        pictures: makes pictures, and keeps them.
    """

    settings: GatewaySettings
    client: AsyncDejavuClient
    feed: LiveFeed
    metrics: GatewayMetrics
    streams: StreamSlots
    reads: AddressSlots
    what_ifs: AddressSlots
    products: AddressSlots
    bodies: BodyMemory
    pictures: Pictures


def context_of(connection: HTTPConnection) -> GatewayContext:
    """Return the context of a request."""
    return cast("GatewayContext", connection.scope[CONTEXT_KEY])


@contextlib.asynccontextmanager
async def turn(
    request: Request, slots: AddressSlots, receive: Callable[[], Awaitable[Any]] | None = None
) -> AsyncIterator[Any]:
    """Hold a slot for expensive work: otherwise an address with many requests could make all others wait.

    A request counts before its body is read: otherwise one client could fill the connections of its proxy with waiting
    requests, or the memory with their bodies.

    Args:
        request: the request.
        slots: slots of the work.
        receive: receives the body, before the slot is taken; its result is yielded.

    Raises:
        RequestRefused: if too many requests are in line already.
    """
    async with contextlib.AsyncExitStack() as held:
        address = client_address(request)
        try:
            held.enter_context(slots.in_line(address))
            body = None if receive is None else await receive()
            await held.enter_async_context(slots.held(address))
        except (NoSlotError, TooManyWaitError) as error:
            raise too_many_requests(str(error) or "too many requests wait already") from None
        yield body


def client_address(connection: HTTPConnection) -> str:
    """Return the key (`share_of`) of a browser's address, as its reverse proxy reports it if the proxy is trusted."""
    return browser_address(connection.scope, connection.headers, context_of(connection).settings.trusted_proxies)


def is_foreign(connection: HTTPConnection) -> bool:
    """Return whether a request comes from a page of another site, which browsers name in its Origin."""
    return is_foreign_origin(connection.scope, connection.headers, context_of(connection).settings.trusted_proxies)
