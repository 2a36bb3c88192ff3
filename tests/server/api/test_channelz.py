"""channelz, if enabled: the state of a server in gRPC's core."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf import json_format
from grpc_channelz.v1 import channelz_pb2 as pb
from grpc_channelz.v1 import channelz_pb2_grpc
from tests.support.builders.calls import PATTERN, refusal
from tests.support.processes.servers import async_worker

from dejavu_client import AsyncDejavuClient


async def test_the_connections_of_a_server_are_listed_with_their_peers_and_calls(tmp_path: Path) -> None:
    async with (
        async_worker(tmp_path, channelz="on") as worker,
        AsyncDejavuClient(worker.address, channels=1) as client,
        grpc.aio.insecure_channel(worker.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel,
    ):
        for _ in range(3):
            await client.predict(PATTERN)
        channelz: Any = channelz_pb2_grpc.ChannelzStub(cast("Any", channel))
        servers = (await channelz.GetServers(pb.GetServersRequest())).server
        port = int(worker.address.rpartition(":")[2])
        of: list[Any] = []
        for server in servers:  # other tests may have left some in this process
            sockets = await channelz.GetServerSockets(pb.GetServerSocketsRequest(server_id=server.ref.server_id))
            of = [
                (await channelz.GetSocket(pb.GetSocketRequest(socket_id=socket.socket_id))).socket
                for socket in sockets.socket_ref
            ]
            if {socket.local.tcpip_address.port for socket in of} == {port}:
                break
        assert server.data.calls_started >= 4
        assert len(of) == 2
        assert max(socket.data.streams_started for socket in of) >= 3
        assert all(socket.remote.tcpip_address.port for socket in of)
        refused = await refusal(channelz.GetSocket(pb.GetSocketRequest(socket_id=2**40)))
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_CHANNELZ_ID")


async def test_data_of_the_core_that_cannot_be_read_is_no_unknown_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise json_format.ParseError("no such field")

    async with (
        async_worker(tmp_path, channelz="on") as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        channelz: Any = channelz_pb2_grpc.ChannelzStub(cast("Any", channel))
        [server, *_] = (await channelz.GetServers(pb.GetServersRequest())).server
        monkeypatch.setattr(json_format, "Parse", fail)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await channelz.GetServer(pb.GetServerRequest(server_id=server.ref.server_id))
        assert failed.value.code() is grpc.StatusCode.INTERNAL
