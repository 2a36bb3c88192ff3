"""Streams resumed hours later: nothing lost, no duplicates, one order for all.

After the death of a worker: test_workers_die.py; after a restart: tests/server/test_drain.py.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from tests.support.builders.issued_forecasts import game, issued
from tests.support.processes.empty_ledger import ledger_url
from tests.support.processes.servers import async_worker

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_server.ledger import Ledger
from dejavu_server.streaming.catch_up import PAGE_MESSAGES


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
