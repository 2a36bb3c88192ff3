"""Method handlers of services, derived from a descriptor."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from dejavu_server.api.decoding import checked

Context = grpc.aio.ServicerContext[Any, Any]

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
# The type stubs give handlers the context of the synchronous server.
Handlers = dict[str, Handler]
"""Handlers of methods, by method name."""

MAKERS: Final = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
"""Functions that make the handler of a method, by whether its requests and its responses are streams."""


def handlers(
    service: ServiceDescriptor,
    servicer: object,
    *,
    encoded: Container[str] = (),
    raw: Container[str] = (),
    complete: bool = True,
) -> Handlers:
    """Return the handlers of the methods that a servicer has, by method name.

    Args:
        service: the service; it must have no method with a stream of requests and a single response.
        servicer: has the methods, with their names in snake_case.
        encoded: names of the methods whose responses are bytes already.
        raw: names of the methods whose requests and responses are bytes; the servicer has them with `_raw` at the end.
        complete: whether the servicer must have all methods; releases of its package add methods to grpc.health.v1.

    Raises:
        AttributeError: if it lacks a method that it must have.
    """
    methods: Handlers = {}
    for method in service.methods:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", method.name).lower()
        if not (complete or hasattr(servicer, name)):
            continue
        behaviour = getattr(servicer, f"{name}_raw" if method.name in raw else name)
        make = MAKERS[method.client_streaming, method.server_streaming]
        write = (
            None
            if method.name in encoded or method.name in raw
            else GetMessageClass(method.output_type).SerializeToString
        )
        read = None if method.name in raw else checked(GetMessageClass(method.input_type))
        methods[method.name] = make(behaviour, read, write)
    return methods
