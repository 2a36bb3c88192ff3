"""Server reflection v1alpha, registered like the services of this package; the library has no v1.

`enable_server_reflection` would register its method by name. grpc.aio then waits for calls of that method and for all
other calls separately, which slows down every call: 3 % of the CPU time of a what-if, measured.
"""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2


def handlers(services: Iterable[str]) -> grpc.GenericRpcHandler:
    """Returns the handlers of the reflection service for the named services and itself, to register with a server."""
    servicer = reflection.aio.ReflectionServicer([*services, reflection.SERVICE_NAME])
    info = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(reflection.SERVICE_NAME, {"ServerReflectionInfo": info})
