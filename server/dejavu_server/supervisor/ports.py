"""Reserves the port that a server's workers share, from before the first worker starts until after the last ends.

A probe without SO_REUSEPORT detects another listener, which SO_REUSEPORT alone would hide. A socket that is bound but
never listens then reserves the port, also while no worker runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import AsyncIterator

import structlog

from dejavu_common.address import Address
from dejavu_server.supervisor.worker_process import StartError

PATIENCE_SECONDS = 2.0
"""Time to wait for a port in use: the workers of a killed server may not have released it yet."""

_RETRY_SECONDS = 0.05

_log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def reserved_port(address: Address) -> AsyncIterator[Address]:
    """Reserve a port for workers to share; yield the address that they listen on, with a numeric host.

    Args:
        address: the address to reserve; port 0 picks a free one.

    Raises:
        StartError: if the host cannot be resolved, or the port stays in use or cannot be bound.
    """
    try:
        family, numeric = await asyncio.to_thread(address.resolve)
    except OSError as error:
        raise StartError(f"{address.host}: {error.strerror}") from error
    deadline = time.monotonic() + PATIENCE_SECONDS
    holder: socket.socket | None = None
    logged = False
    while holder is None:
        try:
            holder = _bind(family, numeric, shared=bool(address.port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise StartError(f"cannot listen on {address}: {error.strerror}") from error
            if not logged:
                _log.info("waiting_for_port", address=str(address), seconds=PATIENCE_SECONDS)
                logged = True
            await asyncio.sleep(_RETRY_SECONDS)
    with holder:
        host, port = holder.getsockname()[:2]
        yield Address(host, port)


def _bind(family: int, numeric: tuple[object, ...], *, shared: bool) -> socket.socket:
    """Return a socket that is bound to an address without listening.

    Args:
        family: address family.
        numeric: the address as a tuple of the socket module.
        shared: whether to probe for another listener first, which a free port (0) does not need.
    """
    if shared:
        # Without SO_REUSEPORT this fails if any process listens there, including another Dejavu server. SO_REUSEADDR
        # ignores leftover connections of a server that has ended.
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
