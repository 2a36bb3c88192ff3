"""The channelz service (grpc.channelz.v1): data of gRPC's core about the server, its sockets and their calls.

grpcio-channelz answers from the core. If it has no answer, it sets a status on the context instead of raising. Here
that is an error like any other, which is counted and logged: an id that the core does not have is answered with a
reason, data that cannot be read as INTERNAL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from grpc_channelz.v1 import channelz_pb2
from grpc_channelz.v1.channelz import ChannelzServicer

from dejavu_models.errors import DejavuError
from dejavu_server.api.handlers import Context

CHANNELZ_SERVICE: Final[Any] = channelz_pb2.DESCRIPTOR.services_by_name["Channelz"]


class UnknownChannelzId(DejavuError):
    """gRPC's core has no server, socket or channel of an id."""

    reason = "UNKNOWN_CHANNELZ_ID"


class _Status:
    """Stand-in for a context, on which the library sets a status if it has no answer.

    Attributes:
        code: the status code.
        details: its text.
    """

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.details = ""

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the status code."""
        self.code = code

    def set_details(self, details: str) -> None:
        """Set its text."""
        self.details = details


class ChannelzService:
    """Implements grpc.channelz.v1.Channelz. Every method raises UnknownChannelzId for an id that is not known."""

    async def get_top_channels(self, request: Message, _: Context) -> Message:
        """List the channels that this process has opened itself: none."""
        return _answer(ChannelzServicer.GetTopChannels, request)

    async def get_servers(self, request: Message, _: Context) -> Message:
        """List the servers: one, with its calls started, succeeded and failed."""
        return _answer(ChannelzServicer.GetServers, request)

    async def get_server(self, request: Message, _: Context) -> Message:
        """Return one server."""
        return _answer(ChannelzServicer.GetServer, request)

    async def get_server_sockets(self, request: Message, _: Context) -> Message:
        """List the sockets of a server's connections."""
        return _answer(ChannelzServicer.GetServerSockets, request)

    async def get_channel(self, request: Message, _: Context) -> Message:
        """Return one channel."""
        return _answer(ChannelzServicer.GetChannel, request)

    async def get_subchannel(self, request: Message, _: Context) -> Message:
        """Return one subchannel."""
        return _answer(ChannelzServicer.GetSubchannel, request)

    async def get_socket(self, request: Message, _: Context) -> Message:
        """Return one socket: peer, streams, messages, keepalives."""
        return _answer(ChannelzServicer.GetSocket, request)


def _answer(method: Callable[[Any, Any], Any], request: Message) -> Message:
    status = _Status()
    answer: Message | None = method(request, status)
    if answer is None:
        if status.code is not grpc.StatusCode.NOT_FOUND:
            raise RuntimeError(f"grpcio-channelz could not read the core's data: {status.details}")
        fields = ", ".join(f"{field.name} {value}" for field, value in request.ListFields()) or "id 0"
        raise UnknownChannelzId(f"gRPC has nothing with {fields}; it may have been closed")
    return answer
