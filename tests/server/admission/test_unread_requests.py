"""Data that callers send after the request of a stream take little memory, even without a token."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import grpc
from tests.support.processes.servers import spawned_server

from dejavu_server.api.decoding import MAX_REQUEST_BYTES

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
            writing = [asyncio.create_task(_write(call)) for call in calls]
            await asyncio.sleep(2)
            grown = (worker.memory_info().rss - before) >> 20
            for task, call in zip(writing, calls, strict=True):
                task.cancel()
                call.cancel()
    assert grown < MOST_MEBIBYTES


async def _write(call: Any) -> None:
    """Send as much as is accepted."""
    with contextlib.suppress(asyncio.CancelledError, asyncio.InvalidStateError):
        while True:
            await call.write(LARGE)
