"""A gRPC server on one address that is there again when gRPC itself breaks it.

gRPC's asyncio server reads a call's path in the loop that accepts calls, outside of any handler. A path that is no
UTF-8, which no client sends but anybody can write on a connection, ends that loop, and with it the server: nobody
listens any more, and the process lives on. (Seen in grpcio 1.85; tests/server/test_endpoint.py has the bytes.) The
endpoint notices, serves anew on the same address at once, lets the calls of the broken server finish, and ends its
streams with a code on which clients resume.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import structlog

LOOK_SECONDS = 0.1
"""How often a server is looked after; for so long nobody may listen."""

LAST_CALLS_SECONDS = 2.0
"""How long the calls of a broken server may still run."""

_log = structlog.get_logger(__name__)


class Endpoint:
    """Serves on an address until it is stopped, whatever becomes of the gRPC server that does it.

    Args:
        new_server: makes a server with everything but a port; called again for each that breaks.
    """

    def __init__(self, new_server: Callable[[], grpc.aio.Server]) -> None:
        self._new_server = new_server
        self._server: grpc.aio.Server
        self._watching: asyncio.Task[None] | None = None
        self._retiring = set[asyncio.Task[None]]()

    async def start(self, listen: str) -> str:
        """Serves from now on.

        Args:
            listen: HOST:PORT; port 0 takes a free one.

        Returns:
            HOST:PORT that it answers on.

        Raises:
            RuntimeError: if the address cannot be bound.
        """
        host, _, _ = listen.rpartition(":")
        self._server = self._new_server()
        port = self._server.add_insecure_port(listen)
        await self._server.start()
        address = f"{host}:{port}"
        self._watching = asyncio.create_task(self._watch(address), name="endpoint")
        return address

    async def stop(self, grace: float) -> None:
        """Takes no connections from the next turn of the loop on; returns when no call runs any more.

        Args:
            grace: seconds after which calls that still run are cancelled.
        """
        if self._watching is None:
            return
        self._watching.cancel()
        await self._server.stop(grace)
        if self._retiring:
            await asyncio.wait(self._retiring)

    async def _watch(self, address: str) -> None:
        while True:
            try:
                while await self._server.wait_for_termination(LOOK_SECONDS):
                    pass
            except Exception as error:  # whatever it was that broke it
                _log.error(
                    "endpoint_broken", error=repr(error)[:200], effect="its connections were closed; it serves anew"
                )
            else:
                return
            retiring = asyncio.create_task(self._server.stop(LAST_CALLS_SECONDS), name="endpoint-retiring")
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)
            await self._succeed(address)

    async def _succeed(self, address: str) -> None:
        """Has a new server take over, as soon as the address is free."""
        while True:
            server = self._new_server()
            try:
                server.add_insecure_port(address)
            except RuntimeError:  # the broken one's socket is not closed yet
                await asyncio.sleep(LOOK_SECONDS)
            else:
                self._server = server  # before it starts: from then on it is to be stopped
                await server.start()
                return
