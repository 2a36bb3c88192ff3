"""Calls that their peers reset, at any moment, end no worker."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct

from bench.fuzz import wire
from tests.support.builders.calls import PATTERN
from tests.support.processes.servers import spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_client import DejavuClient

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
            await asyncio.gather(
                *(
                    reset_calls(host, int(port), f"127.0.0.{2 + seed}", random.Random(seed), RESETS[seed % 2])
                    for seed in range(ADDRESSES)
                )
            )

        workers = [worker.pid for worker in server.workers]
        asyncio.run(attack())
        with DejavuClient(server.address, timeout=30.0) as client:
            assert client.predict(PATTERN).model_version
        assert [worker.pid for worker in server.workers] == workers
