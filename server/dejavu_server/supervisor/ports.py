"""The port that a server's workers share, held from before the first of them lives until after the last.

A probe finds out whether somebody listens already, which SO_REUSEPORT alone would hide; then a socket that is bound but
never listens holds the port, so that it stays this server's between two workers' lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import AsyncIterator

import structlog

from dejavu_server.settings import Address
from dejavu_server.supervisor.worker_process import StartError

PATIENCE_SECONDS = 2.0
"""How long a port may be in use before it is refused: the workers of a server that was killed are still letting go."""

_PAUSE_SECONDS = 0.05

_log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def held_port(address: Address, *, patience: float = PATIENCE_SECONDS) -> AsyncIterator[Address]:
    """Holds a port for workers to share; yields the address that they are to listen on, with a numeric host.

    Args:
        address: where; port 0 takes a free one.
        patience: for how many seconds to try again while the port is in use.

    Raises:
        StartError: if the host can't be resolved, or the port stays in use or can't be bound.
    """
    try:
        resolved = await asyncio.get_running_loop().getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise StartError(f"{address.host}: {error.strerror}") from error
    family, _, _, _, numeric = resolved[0]
    last_try = time.monotonic() + patience
    holder: socket.socket | None = None
    told = False
    while holder is None:
        try:
            holder = _bound(family, numeric, shared=bool(address.port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= last_try:
                raise StartError(f"cannot listen on {address}: {error.strerror}") from error
            if not told:
                _log.info("waiting_for_port", address=str(address), seconds=patience)
                told = True
            await asyncio.sleep(_PAUSE_SECONDS)
    with holder:
        host, port = holder.getsockname()[:2]
        yield Address(host, port)


def _bound(family: int, numeric: tuple[object, ...], *, shared: bool) -> socket.socket:
    """A socket that holds an address without listening.

    Args:
        family: of the address.
        numeric: the address as the socket module has it.
        shared: whether somebody might listen there already, unlike on a free port.
    """
    if shared:
        # Without SO_REUSEPORT this fails where anybody listens, our own kind included. SO_REUSEADDR lets connections
        # of a server that is gone be: they are no hindrance.
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(numeric)
    holder = socket.socket(family, socket.SOCK_STREAM)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(numeric)
    except OSError:
        holder.close()
        raise
    return holder
