"""Connections that grow old or crowded, and calls that their peers reset or never read: others do not suffer."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from bench.fuzz import wire
from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.waiting import until
from tests.support.processes.connections import connections_to
from tests.support.processes.servers import async_worker, running_worker, spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import HALFTIME, AsyncDejavuClient, DejavuClient
from dejavu_server.api.decoding import MAX_REQUEST_BYTES
from dejavu_server.worker import grpc_options
from dejavu_server.worker.grpc_options import CHANNEL_OPTIONS

GAMES = 25


async def test_calls_and_a_stream_outlive_their_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_options, "CONNECTION_GRACE_SECONDS", 1.0)
    async with (
        async_worker(tmp_path, heartbeat_seconds=0.1, connection_age_seconds=0.3) as worker,
        AsyncDejavuClient(worker.address, channels=1, timeout=30) as client,
    ):
        games = [current_game(90001 + number) for number in range(GAMES)]
        async with contextlib.aclosing(client.stream_predictions(heartbeats=True)) as events, asyncio.timeout(30):
            await anext(events)
            first = connections_to(worker.address)
            for game in games:
                await client.predict(PATTERN, horizon=HALFTIME, game_id=game)
                await asyncio.sleep(0.1)  # so that they span several ages of a connection, grace included
            received = list[str]()
            while len(received) < GAMES:
                event = await anext(events)
                received += [event.forecast.game_id] if event.HasField("forecast") else []
            assert not first & connections_to(worker.address), "that of the stream has ended too"
    assert received == games


def test_an_idle_client_is_answered_over_a_new_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_options, "CONNECTION_IDLE_SECONDS", 0.2)
    with (
        running_worker(tmp_path, connection_age_seconds=0.0) as address,
        DejavuClient(address, channels=1, timeout=30) as client,
    ):
        for _ in range(3):
            client.predict(PATTERN)
            opened, deadline = connections_to(address), time.monotonic() + 30
            while opened & connections_to(address):
                assert time.monotonic() < deadline, "the server did not close the idle connection"
                time.sleep(0.02)


PREDICT = "/dejavu.v1.PredictionService/Predict"
RST_STREAM, CANCEL = 0x3, struct.pack(">I", 8)
ADDRESSES, CALLS = 16, 1500
"""Number of callers, and minimum number of their calls."""

RESETS = 0.05, 0.95
"""Shares of their calls that callers reset, in turn: what the one leaves open ends with its connection."""


def frames(stream: int, rng: random.Random, resets: float) -> bytes:
    """Return the headers of a call, sometimes with its request, and for a share of the calls with a reset."""
    request = pb.PredictRequest(pattern=PATTERN).SerializeToString()
    deadline = rng.choice([[], [(b"grpc-timeout", b"1m")], [(b"grpc-timeout", b"20m")]])
    complete = wire.call(PREDICT, wire.prefixed(request), deadline).removeprefix(wire.PREFACE)[9:]
    length = int.from_bytes(complete[:3], "big") + 9
    number = stream.to_bytes(4, "big")
    headers, body = (part[:5] + number + part[9:] for part in (complete[:length], complete[length:]))
    reset = wire.frame(RST_STREAM, 0, stream, CANCEL)
    return headers + (body if rng.random() < 0.1 else b"") + (reset if rng.random() < resets else b"")


async def reset_calls(host: str, port: int, address: str, rng: random.Random, resets: float) -> None:
    """Make its share of the calls from an address, on one connection after the other, and reset a share of them."""
    calls = 0
    while calls < CALLS / ADDRESSES:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(host, port, local_addr=(address, 0))
            writer.write(wire.PREFACE + wire.frame(wire.SETTINGS, 0, 0))
            for stream in range(1, 2 * rng.randrange(1, 60), 2):
                writer.write(frames(stream, rng, resets))
                calls += 1
                if rng.random() < 0.3:
                    await asyncio.sleep(rng.choice([0, 0.001, 0.01]))
            writer.close()


def test_calls_that_are_reset_before_their_requests_came_end_no_worker() -> None:
    """Nor do calls whose connection closes while others take their places: gRPC's core has released them by then."""
    with spawned_server("--workers", "1", "--max-in-flight", "16", "--cache", "off") as server:
        host, _, port = server.address.rpartition(":")

        async def attack() -> None:
            async with asyncio.TaskGroup() as callers:
                for seed in range(ADDRESSES):
                    rng, address = random.Random(seed), f"127.0.0.{2 + seed}"
                    callers.create_task(reset_calls(host, int(port), address, rng, RESETS[seed % 2]))

        workers = [worker.pid for worker in server.workers]
        asyncio.run(attack())
        with DejavuClient(server.address, timeout=30.0) as client:
            assert client.predict(PATTERN).model_version
        assert [worker.pid for worker in server.workers] == workers


WATCH = "/grpc.health.v1.Health/Watch"
STREAMS = 60
LARGE = b"x" * (MAX_REQUEST_BYTES - 64)
MOST_MEBIBYTES = STREAMS // 2
"""Maximum growth of a worker's memory: half a mebibyte for each stream."""


async def test_what_callers_of_a_watch_send_after_their_request_is_not_kept(tmp_path: Path) -> None:
    with spawned_server("--workers", "1", "--ledger", f"sqlite:///{tmp_path / 'ledger.sqlite3'}") as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            watch: Any = channel.stream_stream(WATCH)
            calls = [watch() for _ in range(STREAMS)]
            [worker] = server.workers
            before = worker.memory_info().rss
            for call in calls:
                await call.write(b"")
                assert await call.read() == b"\x08\x01"  # it serves
            writing = [asyncio.create_task(write(call)) for call in calls]
            await asyncio.sleep(2)
            grown = (worker.memory_info().rss - before) >> 20
            for task, call in zip(writing, calls, strict=True):
                task.cancel()
                call.cancel()
    assert grown < MOST_MEBIBYTES


async def write(call: Any) -> None:
    """Send as much as is accepted."""
    with contextlib.suppress(asyncio.CancelledError, asyncio.InvalidStateError):
        while True:
            await call.write(LARGE)


MOST = int(CHANNEL_OPTIONS["grpc.max_concurrent_streams"])
MORE = 50


async def test_a_connection_s_calls_are_bounded_and_those_of_others_answered(tmp_path: Path) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with (
        async_worker(tmp_path) as worker,
        grpc.aio.insecure_channel(worker.address, options) as crowded,
        grpc.aio.insecure_channel(worker.address, options) as other,
    ):
        stub = PredictionServiceStub(crowded)
        streams = [stub.StreamPredictions(pb.StreamPredictionsRequest()) for _ in range(MOST + MORE)]
        reads = [asyncio.ensure_future(stream.read()) for stream in streams]
        await until(lambda: sum(read.done() for read in reads) >= MOST)
        answer = await PredictionServiceStub(other).Predict(pb.PredictRequest(pattern=PATTERN), timeout=30)
        assert answer.forecast.model_version
        assert sum(read.done() for read in reads) == MOST
        for stream in streams[:MORE]:  # ended streams make room for waiting ones
            stream.cancel()
        await asyncio.wait(reads)
        for stream in streams:
            stream.cancel()
