"""Detects a failure of the gRPC server, so that its process exits and is replaced.

The asyncio server of gRPC decodes the path of a call in its accept loop, outside of any handler. A path that is not
valid UTF-8 ends that loop: the process keeps running but accepts no more calls. No client library sends such a path,
but any peer can write one to a connection. The server can't be restarted in the process: calls still in progress then
caused segmentation faults. (Seen in grpcio 1.85; tests/server/worker/test_grpc_failure.py has the bytes.) Such a
process therefore exits at once, as if it were killed; its callers get UNAVAILABLE and retry.
"""

from __future__ import annotations

import grpc

LOOK_SECONDS = 0.05
"""How often to check a server: gRPC reports a failure only when polled."""


async def wait_for_server_failure(server: grpc.aio.Server) -> Exception | None:
    """Waits until a started server ends; returns the exception that ended it, or None if it was stopped."""
    try:
        while await server.wait_for_termination(LOOK_SECONDS):
            pass
    except Exception as error:  # any exception that ended the server
        return error
    return None
