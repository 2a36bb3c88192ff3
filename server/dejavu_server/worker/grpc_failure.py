"""Notices that gRPC's server broke, so that its process ends and another takes its place.

gRPC's asyncio server reads a call's path in the loop that accepts calls, outside of any handler. A path that is no
UTF-8, which no client sends but anybody can write on a connection, ends that loop: nobody listens any more, and the
process lives on. Nor can it be mended from within: after such an end the calls that still ran brought about
segmentation faults. (Seen in grpcio 1.85; tests/server/worker/test_grpc_failure.py has the bytes.) So such a process
ends at once, as if it were killed: to its callers it is unavailable, which they try again.
"""

from __future__ import annotations

import grpc

LOOK_SECONDS = 0.05
"""How often a server is looked after: gRPC tells of a break only to those who ask."""


async def wait_for_server_failure(server: grpc.aio.Server) -> Exception | None:
    """Waits until a server that was started ends; returns why, or None if it was stopped."""
    try:
        while await server.wait_for_termination(LOOK_SECONDS):
            pass
    except Exception as error:  # whatever it was that ended it
        return error
    return None
