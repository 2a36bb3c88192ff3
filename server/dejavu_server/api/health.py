"""Standard health service (grpc.health.v1) whose watchers do not delay a drain.

The servicer of grpcio-health-checking keeps a Watch open after its final NOT_SERVING, so a draining server would wait
for its watchers until the grace time ends. This service sends NOT_SERVING and ends the Watch.

Health reports whether requests may be sent here. It stays SERVING while the ledger is unavailable, because what-ifs are
still answered: clients that act on NOT_SERVING would stop those too, on every worker that shares the ledger. The ledger
has its own service name, LEDGER, which is NOT_SERVING meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from grpc_health.v1 import health_pb2 as pb

from dejavu_models.errors import FieldError, quoted
from dejavu_server.limits import Caller
from dejavu_server.streaming.stream_errors import ServerDraining

HEALTH_SERVICE: Final[Any] = pb.DESCRIPTOR.services_by_name["Health"]

OVERALL = ""
"""Service name of the whole server."""

LEDGER = "dejavu.ledger"
"""Service name of the ledger as this worker sees it: SERVING if it records forecasts and sends streams."""


class UnknownService(FieldError, reason="UNKNOWN_SERVICE", field="service", category="NOT_FOUND"):
    """A health request names a service that this server does not have."""


class HealthService:
    """Reports the health of the server and its services, which share one state: starting, serving, stalled or draining.

    Args:
        services: full names of the services.
        parts: names of optional parts; each is NOT_SERVING until `set_part` changes it.
    """

    def __init__(self, services: Iterable[str], parts: Iterable[str] = ()) -> None:
        self._working = dict.fromkeys((OVERALL, HEALTH_SERVICE.full_name, *services), True)
        self._working |= dict.fromkeys(parts, False)
        self._serving = False
        self._ready = True
        self._has_models = True
        self._draining = False
        self._changed = asyncio.Event()

    def serve(self) -> None:
        """Report SERVING from now on."""
        self._serving = True
        self._notify()

    def set_ready(self, ready: bool) -> None:
        """Set whether all threads of the server make progress; it applies while the server serves."""
        self._ready = ready
        self._notify()

    def set_models_loaded(self, loaded: bool) -> None:
        """Set whether the champion is loaded; it applies while the server serves."""
        self._has_models = loaded
        self._notify()

    def set_part(self, name: str, *, serving: bool) -> None:
        """Set whether a part is SERVING; it applies while the server serves."""
        self._working[name] = serving
        self._notify()

    def drain(self) -> None:
        """Report NOT_SERVING permanently and end all watches."""
        self._serving, self._draining = False, True
        self._notify()

    @property
    def is_serving(self) -> bool:
        """Whether the server as a whole is SERVING."""
        return self._response(OVERALL).status == pb.HealthCheckResponse.SERVING

    async def check(self, request: pb.HealthCheckRequest, _: Caller) -> pb.HealthCheckResponse:
        """Return the current health of a service."""
        if request.service not in self._working:
            known = f"{LEDGER}, the full name of a service (reflection lists them), or empty for the whole server"
            raise UnknownService(quoted(request.service), known)
        return self._response(request.service)

    async def watch(self, request: pb.HealthCheckRequest, _: Caller) -> AsyncIterator[pb.HealthCheckResponse]:
        """Stream the health of a service: now and on every change; SERVICE_UNKNOWN for an unknown service."""
        last = None
        while True:
            changed = self._changed
            response = self._response(request.service)
            if response != last:
                yield response
                last = response
            elif self._draining:
                raise ServerDraining()
            else:
                await changed.wait()

    def _response(self, service: str) -> pb.HealthCheckResponse:
        if service not in self._working:
            return pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVICE_UNKNOWN)
        if self._serving and self._ready and self._has_models and self._working[service]:
            return pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVING)
        return pb.HealthCheckResponse(status=pb.HealthCheckResponse.NOT_SERVING)

    def _notify(self) -> None:
        # Wakes the watchers of the old event; from here on they wait for the new one.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
