"""Resumes streams with their tokens after crashes and restarts: nothing lost, no duplicates, one order for all."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.builders.calls import PATTERN
from tests.support.builders.issued_forecasts import game, issued
from tests.support.processes.empty_ledger import ledger_url
from tests.support.processes.servers import SpawnedServer, async_worker, spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import HALFTIME, DejavuClient
from dejavu_server.ledger import Ledger
from dejavu_server.streaming.catch_up import PAGE_MESSAGES

SUBSCRIBERS = 6


class Reader:
    """A subscriber that resumes with its token and keeps every received sequence, including duplicates."""

    def __init__(self, channel: Any) -> None:
        self._service = PredictionServiceStub(channel)
        self.sequences: list[int] = []
        self.token = ""
        self.call: Any = None

    def open(self) -> Reader:
        self.call = self._service.StreamPredictions(
            pb.StreamPredictionsRequest(resume_token=self.token), wait_for_ready=True, timeout=60
        )
        self._take(next(self.call))
        return self

    def read(self, *, up_to: int) -> None:
        while not self.sequences or self.sequences[-1] < up_to:
            self._take(next(self.call))

    def read_to_the_end(self) -> None:
        """Read until the stream breaks."""
        try:
            for message in self.call:
                self._take(message)
        except grpc.RpcError:
            pass

    def _take(self, message: pb.StreamPredictionsResponse) -> None:
        self.token = message.resume_token
        if message.HasField("forecast"):
            self.sequences.append(message.forecast.sequence)


def dial(address: str) -> Any:
    return grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])


def publish(address: str, numbers: range) -> None:
    with DejavuClient(address, timeout=60) as client:
        for number in numbers:
            client.predict(PATTERN, horizon=HALFTIME, game_id=game(number))


def workers(server: SpawnedServer) -> list[int]:
    return [int(entry["worker"].partition("-")[2]) for entry in server.events if entry["event"] == "serving"]


def is_not_of(pids: list[int], entry: dict[str, Any]) -> bool:
    return int(entry["worker"].partition("-")[2]) not in pids


@pytest.mark.nightly
def test_after_a_worker_dies_every_subscriber_resumes_where_it_was(tmp_path: Path) -> None:
    with spawned_server("--workers", "2", "--ledger", ledger_url(tmp_path)) as server:
        channels = [dial(server.address) for _ in range(SUBSCRIBERS)]
        readers = [Reader(channel).open() for channel in channels]
        publish(server.address, range(10))
        for reader in readers[::2]:
            reader.read(up_to=10)  # the other subscribers have not read yet
        for number, victim in enumerate(workers(server)):  # one by one, so that every subscriber loses its worker
            before = workers(server)
            os.kill(victim, signal.SIGKILL)
            server.wait_for("serving", partial(is_not_of, before))
            publish(server.address, range(10 + 5 * number, 15 + 5 * number))
        for reader in readers:
            reader.read_to_the_end()
            reader.open().read(up_to=20)
            reader.call.cancel()
        for channel in channels:
            channel.close()
    assert [reader.sequences for reader in readers] == [list(range(1, 21))] * SUBSCRIBERS


async def test_an_old_token_replays_the_backlog_and_continues_with_new_events(tmp_path: Path) -> None:
    """The backlog has several pages, older than `include_current` covers, and grows while the stream catches up."""
    old, new = 100 * PAGE_MESSAGES + 1, 200
    evening = datetime.now(UTC) - timedelta(hours=14)
    ledger = await Ledger.open(ledger_url(tmp_path))
    await ledger.commit([issued(game(0), generated_time=evening)])
    token = ledger.token(1)
    for start in range(1, old, 100):
        at = evening + timedelta(minutes=start)
        await ledger.commit([issued(game(n), generated_time=at) for n in range(start, min(start + 100, old))])
    async with async_worker(tmp_path) as worker, grpc.aio.insecure_channel(worker.address) as channel:
        streams = [
            PredictionServiceStub(channel).StreamPredictions(pb.StreamPredictionsRequest(resume_token=token))
            for _ in range(3)
        ]
        reading = asyncio.gather(*(read(stream, up_to=old + new) for stream in streams))
        for number in range(old, old + new):
            await ledger.commit([issued(game(number))])
        received = await reading
    await ledger.close()
    assert received == [list(range(2, old + new + 1))] * 3


async def read(stream: Any, *, up_to: int) -> list[int]:
    sequences: list[int] = []
    while not sequences or sequences[-1] < up_to:
        message = await stream.read()
        if message.HasField("forecast"):
            sequences.append(message.forecast.sequence)
    stream.cancel()
    return sequences
