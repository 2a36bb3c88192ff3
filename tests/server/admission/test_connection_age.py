"""A connection that reaches its age is replaced, and neither calls nor streams of a client see it."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from pathlib import Path

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.processes.connections import connections_to
from tests.support.processes.servers import async_worker, running_worker

from dejavu_client import HALFTIME, AsyncDejavuClient, DejavuClient
from dejavu_server.worker import grpc_options

GAMES = 25


async def test_calls_and_a_stream_outlive_their_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_options, "CONNECTION_GRACE_SECONDS", 1.0)
    async with (
        async_worker(tmp_path, heartbeat_seconds=0.1, connection_age_seconds=0.3) as worker,
        AsyncDejavuClient(worker.address, channels=1, timeout=30) as client,
    ):
        received: list[str] = []
        started, complete = asyncio.Event(), asyncio.Event()

        async def follow() -> None:
            async with aclosing(client.stream_predictions(heartbeats=True)) as events:
                async for event in events:
                    started.set()
                    if event.HasField("forecast"):
                        received.append(event.forecast.game_id)
                    if len(received) == GAMES:
                        complete.set()

        following = asyncio.create_task(follow())
        async with asyncio.timeout(30):
            await started.wait()
        games = [current_game(90001 + number) for number in range(GAMES)]
        for game in games:
            await client.predict(PATTERN, horizon=HALFTIME, game_id=game)
            await asyncio.sleep(0.1)  # so that they span several ages of a connection, grace included
        async with asyncio.timeout(30):
            await complete.wait()
        following.cancel()
    assert received == games


def test_a_client_that_was_idle_is_answered_over_a_new_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
