"""Detects a failure of the gRPC server, so that its process exits and is replaced.

Should the loop that accepts calls end (grpc_server.py has the one fault of gRPC that is known to do it), the process
would keep running and accept no more calls. The server can't be restarted in the process: calls still in progress then
caused segmentation faults. Such a process therefore exits at once, as if it were killed; its callers get UNAVAILABLE
and retry.
"""

from __future__ import annotations

from dejavu_server.worker.grpc_server import GrpcServer

LOOK_SECONDS = 0.05
"""How often to check a server: gRPC reports a failure only when polled."""


async def wait_for_server_failure(server: GrpcServer) -> Exception | None:
    """Waits until a started server ends; returns the exception that ended it, or None if it was stopped."""
    try:
        while await server.wait_for_termination(LOOK_SECONDS):
            pass
    except Exception as error:  # any exception that ended the server
        return error
    return None
