"""A model that one of two real servers cannot load. Changes under load, with kills: `bench.promotions`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from tests.support.builders.calls import PATTERN, refusal
from tests.support.processes.servers import spawned_server
from tests.support.programs.model_servers import (
    CHAMPION,
    challenger_version,
    store_with_challenger,
)

from dejavu.v1 import model_service_pb2 as pb
from dejavu.v1.model_service_pb2_grpc import ModelServiceStub
from dejavu_client import AsyncDejavuClient


@pytest.mark.nightly
async def test_a_server_whose_store_lacks_the_bundle_stops_the_promotion(tmp_path: Path) -> None:
    new = challenger_version()
    (tmp_path / "other").mkdir()
    stores = (store_with_challenger(tmp_path), str(tmp_path / "other" / "store"))
    ledger = ("--ledger", f"sqlite:///{tmp_path / 'ledger.sqlite3'}", "--workers", "1")
    with ExitStack() as stack:
        servers = [stack.enter_context(spawned_server(*ledger, "--model-store", store)) for store in stores]
        for server in servers:
            server.wait_for("serving")
        async with grpc.aio.insecure_channel(servers[0].address) as channel:
            models = ModelServiceStub(channel)
            refused = await refusal(models.LoadModel(pb.LoadModelRequest(model_version=new)))
            assert refused.reason == "MODEL_LOAD_FAILED"
            assert f"cannot load model {new}" in refused.message
            unknown = await refusal(models.GetModel(pb.GetModelRequest(model_version=new)))
            assert unknown.reason == "MODEL_NOT_REGISTERED"
        for server in servers:
            async with AsyncDejavuClient(server.address) as client:
                assert (await client.predict(PATTERN)).model_version == CHAMPION
