from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.harness.subscribers import started
from tests.support.processes import ledgers
from tests.support.processes.servers import async_worker

from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import AsyncDejavuClient
from dejavu_ledger import Ledger
from dejavu_server.streaming.broadcaster import Broadcaster
from dejavu_server.worker.worker import Worker

if TYPE_CHECKING:
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub


@pytest.fixture
def model() -> PersistenceForecaster:
    """The model that `worker` answers with."""
    return PersistenceForecaster()


@pytest.fixture
async def worker(tmp_path: Path, model: PersistenceForecaster) -> AsyncIterator[Worker]:
    async with async_worker(tmp_path, model) as worker:
        yield worker


@pytest.fixture
async def channel(worker: Worker) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(worker.address) as channel:
        yield channel


@pytest.fixture
def service(channel: grpc.aio.Channel) -> PredictionServiceAsyncStub:
    return PredictionServiceStub(channel)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncDejavuClient]:
    """A client of a worker with the shipped bundle."""
    async with (
        async_worker(tmp_path, shipped=True) as worker,
        AsyncDejavuClient(worker.address, timeout=30.0) as client,
    ):
        yield client


url = ledgers.url
ledger = ledgers.ledger


@pytest.fixture
async def broadcaster(ledger: Ledger) -> AsyncIterator[Broadcaster]:
    async with started(ledger) as running:
        yield running
