"""Decoding of requests: bytes that are not a message, or more than any request of their method needs, are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from dejavu.inference.open_inference_pb2 import ModelInferRequest
from dejavu.ops.v1.cache_service_pb2 import WarmCacheRequest
from dejavu.v1.prediction_service_pb2 import PredictBatchRequest, PredictColumnsRequest
from dejavu_models.errors import DejavuError

MAX_REQUEST_BYTES: Final = 1024 * 1024 * 2
"""Largest request of any method, refused by gRPC's core: the columns of as many games as allowed take 1.9 MiB."""

MAX_BATCH_BYTES: Final = 1024 * 1024 * 3 // 2
"""Largest batch: a full one with every optional field takes 1.4 MiB.

The costliest bytes of this size are empty messages, which become 100 bytes for 2 when they are parsed. Parsing and
refusing them takes less CPU than computing a full batch with explanations.
"""

MAX_BYTES: Final = 64 * 1024
"""Largest request of most methods: it stays in memory while a stream lasts, or until an answer is read. The request for
a stream of as many games as allowed has 2.4 kB."""

_BYTES_OF: Final[Mapping[type[Message], int]] = {
    # Numbers and texts of tensors become up to sixteen times as large when they are parsed. As many rows as allowed
    # have 600 kB if all numbers are negative integers.
    ModelInferRequest: 768 * 1024,
    HealthCheckRequest: 1024,  # its streams and calls need no token
    ServerReflectionRequest: 4096,
    PredictBatchRequest: MAX_BATCH_BYTES,
    PredictColumnsRequest: MAX_REQUEST_BYTES,
    WarmCacheRequest: MAX_BATCH_BYTES,
}
"""Maximum bytes of the requests whose limit is not MAX_BYTES."""

MessageT = TypeVar("MessageT", bound=Message)


class MalformedRequest(DejavuError, reason="INVALID_MESSAGE", category="INVALID_ARGUMENT"):
    """The bytes of a request are not a message of its method, or far more than any request needs."""


def checked(message: type[MessageT]) -> Callable[[bytes], MessageT]:
    """Return a decoder of requests of a type; it raises MalformedRequest on other bytes, and on too many."""
    most = _BYTES_OF.get(message, MAX_BYTES)

    def deserialize(data: bytes) -> MessageT:
        if len(data) > most:
            raise MalformedRequest(f"the request has {len(data)} bytes; expected at most {most}")
        try:
            return message.FromString(data)
        except DecodeError:
            raise MalformedRequest(f"the {len(data)} bytes of the request are not a message of this method") from None

    return deserialize
