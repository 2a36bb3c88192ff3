"""Objects that the endpoints share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final, cast

from starlette.requests import HTTPConnection, Request

from dejavu_common.slots import NoSlotError, StreamSlots, TooManyWaitError
from dejavu_gateway.api.pictures import Pictures
from dejavu_gateway.http.bodies import BodyMemory
from dejavu_gateway.http.envelope import browser_address
from dejavu_gateway.limits import AddressSlots
from dejavu_gateway.live.feed import LiveFeed
from dejavu_gateway.messages.errors import too_many_requests
from dejavu_gateway.metrics import GatewayMetrics
from dejavu_gateway.settings import GatewaySettings
from dejavu_gateway.upstream import UpstreamClient

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
        drawings: slots of requests for which the gateway draws a picture.
        files: slots of requests for which the gateway makes a file of many forecasts.
        bodies: bytes of the bodies that are received, but not parsed yet.
        pictures: makes pictures, and keeps them.
    """

    settings: GatewaySettings
    client: UpstreamClient
    feed: LiveFeed
    metrics: GatewayMetrics
    streams: StreamSlots
    reads: AddressSlots
    what_ifs: AddressSlots
    drawings: AddressSlots
    files: AddressSlots
    bodies: BodyMemory
    pictures: Pictures


def context_of(connection: HTTPConnection) -> GatewayContext:
    """Return the context of a request."""
    return cast("GatewayContext", connection.scope[CONTEXT_KEY])


@contextlib.contextmanager
def in_line(request: Request, slots: AddressSlots | None = None) -> Iterator[None]:
    """Count a request that needs the server, starting before its body is read.

    Otherwise one client could fill the connections of its proxy with waiting requests, or the memory with their bodies.

    Args:
        request: the request.
        slots: the slots for which it waits; by default those of its method.

    Raises:
        RequestRefused: if too many requests are in line already.
    """
    with contextlib.ExitStack() as counted:
        try:
            counted.enter_context((slots or _slots(request)).in_line(client_address(request)))
        except NoSlotError as error:
            raise too_many_requests(str(error)) from None
        yield


@contextlib.asynccontextmanager
async def asking(request: Request, slots: AddressSlots | None = None) -> AsyncIterator[None]:
    """Hold a slot for expensive work: otherwise an address with many requests could make all others wait.

    A request with a body is `in_line` already.

    Args:
        request: the request.
        slots: slots of the work; by default those of calls to the server.

    Raises:
        RequestRefused: if too many requests are in line already.
    """
    async with contextlib.AsyncExitStack() as held:
        if request.method != "POST":
            held.enter_context(in_line(request, slots))
        try:
            await held.enter_async_context((slots or _slots(request)).held(client_address(request)))
        except TooManyWaitError:
            raise too_many_requests("too many requests wait already") from None
        yield


def _slots(request: Request) -> AddressSlots:
    context = context_of(request)
    return context.what_ifs if request.method == "POST" else context.reads


def client_address(connection: HTTPConnection) -> str:
    """Return the key (`share_of`) of a browser's address, as its reverse proxy reports it if the proxy is trusted."""
    return browser_address(connection.scope, connection.headers, context_of(connection).settings.trusted_proxies)
