"""Server reflection, given to gRPC as our own services are.

`enable_server_reflection` would register its method by name. grpc.aio then waits for calls of that method and for all
other calls side by side, and each call of any method pays for it: 3 % of a what-if's CPU, measured.
"""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2


def handlers(services: Iterable[str]) -> grpc.GenericRpcHandler:
    """The reflection service for services of these names and for itself, for a server to be given."""
    servicer = reflection.aio.ReflectionServicer([*services, reflection.SERVICE_NAME])
    info = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(reflection.SERVICE_NAME, {"ServerReflectionInfo": info})
