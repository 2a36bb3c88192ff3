"""The standard health service (grpc.health.v1), such that watching it does not hold a drain up.

The servicer of grpcio-health-checking keeps a Watch open after it said NOT_SERVING for good; a draining server then
waits for its watchers until the grace time is over. This one tells them and ends.

Health answers whether requests may be sent here, and so stays SERVING while the ledger can't be used: what-ifs are
still answered, and whoever acts on NOT_SERVING would end those too, on every worker that shares the ledger. The ledger
has a name of its own, LEDGER, which is NOT_SERVING meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2 as pb

from dejavu_models.errors import FieldError, quoted
from dejavu_server.streaming.errors import ServerDraining

HEALTH_SERVICE = pb.DESCRIPTOR.services_by_name["Health"].full_name
OVERALL = ""
"""The service name that stands for the whole server."""

LEDGER = "dejavu.ledger"
"""The name that stands for the ledger as the worker asked sees it: whether it records forecasts and sends streams."""

Context = grpc.aio.ServicerContext[Any, Any]


class UnknownService(FieldError):
    """Health was asked of a service that this server does not have."""

    reason = "UNKNOWN_SERVICE"
    default_field = "service"


class HealthService:
    """Health of the server and of each of its services, which share one fate: starting, serving, draining.

    Args:
        services: full names of the services.
        parts: names of what the server can go without; none of them serves until it is said to.
    """

    def __init__(self, services: Iterable[str], parts: Iterable[str] = ()) -> None:
        self._services = {OVERALL, HEALTH_SERVICE, *services}
        self._parts = dict.fromkeys(parts, False)
        self._serving = False
        self._draining = False
        self._changed = asyncio.Event()

    def serve(self) -> None:
        """Says SERVING from now on."""
        self._serving = True
        self._tell()

    def set_part(self, name: str, *, serving: bool) -> None:
        """Says whether a part serves, as long as the server does."""
        self._parts[name] = serving
        self._tell()

    def drain(self) -> None:
        """Says NOT_SERVING for good, and ends those who watch."""
        self._serving, self._draining = False, True
        self._tell()

    async def check(self, request: pb.HealthCheckRequest, _: Context) -> pb.HealthCheckResponse:
        """Tells the health of a service now."""
        if not self._knows(request.service):
            held = ", ".join(sorted({*self._services, *self._parts} - {OVERALL}))
            raise UnknownService(quoted(request.service), f"one of {held}, or empty for the whole server")
        return self._response(request.service)

    async def watch(self, request: pb.HealthCheckRequest, _: Context) -> AsyncIterator[pb.HealthCheckResponse]:
        """Tells the health of a service now and whenever it changes; of an unknown one, that it is unknown."""
        told = None
        while True:
            changed = self._changed
            response = self._response(request.service)
            if response != told:
                yield response
                told = response
            elif self._draining:
                raise ServerDraining()
            else:
                await changed.wait()

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service's methods, for a server to be given."""
        return grpc.method_handlers_generic_handler(
            HEALTH_SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(
                    self.check, pb.HealthCheckRequest.FromString, pb.HealthCheckResponse.SerializeToString
                ),
                "Watch": grpc.unary_stream_rpc_method_handler(
                    self.watch, pb.HealthCheckRequest.FromString, pb.HealthCheckResponse.SerializeToString
                ),
            },
        )

    def _knows(self, service: str) -> bool:
        return service in self._services or service in self._parts

    def _response(self, service: str) -> pb.HealthCheckResponse:
        if not self._knows(service):
            return pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVICE_UNKNOWN)
        if self._serving and self._parts.get(service, True):
            return pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVING)
        return pb.HealthCheckResponse(status=pb.HealthCheckResponse.NOT_SERVING)

    def _tell(self) -> None:
        # Those who wait hold the old event; whoever looks from now on sees the new state.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
