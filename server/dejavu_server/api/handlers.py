"""Method handlers of a service, derived from its descriptor."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass


def handlers(
    service: ServiceDescriptor, servicer: object, *, encoded: Container[str] = (), complete: bool = True
) -> grpc.GenericRpcHandler:
    """Returns the handlers of the methods that a servicer has, to register with a server.

    Args:
        service: the service; its methods take a single request.
        servicer: has the methods, with their names in snake_case.
        encoded: names of the methods whose responses are bytes already.
        complete: whether the servicer must have all methods; grpc.health.v1 gains some with releases of its package.

    Raises:
        AttributeError: if it lacks one that it must have.
    """
    methods: dict[str, Any] = {}
    for method in service.methods:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", method.name).lower()
        if not (complete or hasattr(servicer, name)):
            continue
        behaviour = getattr(servicer, name)
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        write = None if method.name in encoded else GetMessageClass(method.output_type).SerializeToString
        methods[method.name] = make(behaviour, GetMessageClass(method.input_type).FromString, write)
    return grpc.method_handlers_generic_handler(service.full_name, methods)
