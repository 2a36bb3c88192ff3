"""Models change on real servers: under load, with workers killed and replaced, and with a store that lacks a bundle."""

from __future__ import annotations

import os
import signal
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path

import grpc
import psutil
from bench.promotions.run import run
from tests.support.builders.calls import PATTERN, refusal
from tests.support.processes.servers import spawned_server
from tests.support.programs.model_servers import (
    CHAMPION,
    challenger_version,
    register,
    store_with_challenger,
)

from dejavu.v1 import model_service_pb2 as pb
from dejavu.v1.model_service_pb2_grpc import ModelServiceStub
from dejavu_client import AsyncDejavuClient


async def test_promotions_and_rollbacks_under_load_are_seen_by_no_caller(tmp_path: Path) -> None:
    options = Namespace(rounds=4, publishers=3, subscribers=4, workers=2, servers=2, seed=1, json=True, postgres=False)
    result = await run(options, tmp_path)
    assert result.breaches() == [], {name: getattr(result, name) for name in result.breaches()}
    assert dict(result.rounds) == {"promote": 3, "rollback": 2}


async def test_replaced_and_killed_workers_go_on_with_the_champion_of_the_ledger(tmp_path: Path) -> None:
    new = challenger_version()
    arguments = ("--ledger", f"sqlite:///{tmp_path / 'ledger.sqlite3'}", "--workers", "2")
    with spawned_server(*arguments, "--model-store", store_with_challenger(tmp_path)) as server:
        async with grpc.aio.insecure_channel(server.address) as channel, AsyncDejavuClient(server.address) as client:
            models = ModelServiceStub(channel)
            await register(models)
            await models.LoadModel(pb.LoadModelRequest(model_version=new))
            await models.PromoteModel(pb.PromoteModelRequest(model_version=new, force=True))
            assert (await client.predict(PATTERN, game_id="9900000001")).model_version == new
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("reloaded")
        one, *_ = server.workers
        os.kill(one.pid, signal.SIGKILL)
        psutil.wait_procs([one], timeout=20)
        async with grpc.aio.insecure_channel(server.address) as channel, AsyncDejavuClient(server.address) as client:
            assert (await client.predict(PATTERN, game_id="9900000002")).model_version == new
            back = await ModelServiceStub(channel).RollbackModel(pb.RollbackModelRequest(from_version=new))
            assert back.model.version == CHAMPION
            forecast = await client.predict(PATTERN, game_id="9900000003")
            assert (forecast.model_version, forecast.sequence > back.change.sequence) == (CHAMPION, True)
        assert server.stop() == 0


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
            await register(models)
            refused = await refusal(models.LoadModel(pb.LoadModelRequest(model_version=new)))
            assert refused.reason == "MODEL_LOAD_FAILED"
            assert f"cannot load model {new}" in refused.message
            model = (await models.GetModel(pb.GetModelRequest(model_version=new))).model
            assert model.stage == pb.MODEL_STAGE_NONE
        for server in servers:
            async with AsyncDejavuClient(server.address) as client:
                assert (await client.predict(PATTERN)).model_version == CHAMPION
