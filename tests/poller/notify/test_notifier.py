"""A notifier of a real server: each moment once, also of games that began before it; replays only if asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.builders.evenings import close_game
from tests.support.processes.servers import async_worker

from dejavu.v1.game_service_pb2 import GameStatus
from dejavu_client import FINAL, AsyncDejavuClient
from dejavu_common.clock import utc_now
from dejavu_poller.notify.conditions import Message
from dejavu_poller.notify.notifier import RuleNotifier
from dejavu_poller.notify.rules import Rules
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope

REPLAY = "9900000001"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncDejavuClient]:
    async with (
        async_worker(tmp_path, shipped=True) as worker,
        AsyncDejavuClient(worker.address, timeout=30.0) as client,
    ):
        yield client


def rules(kind: str) -> Rules:
    targets = {"a": {"kind": "slack", "url": "https://example.com"}}
    return Rules.model_validate({"page": "https://example.com/", "targets": targets, "rules": [{"kind": kind}]})


@asynccontextmanager
async def running(
    client: AsyncDejavuClient, told: Rules, *, replays: bool = True
) -> AsyncIterator[asyncio.Queue[Message]]:
    messages = asyncio.Queue[Message]()
    notifier = RuleNotifier(client, told, lambda message, _: messages.put_nowait(message), replays=replays)
    task = asyncio.create_task(notifier.run())
    try:
        yield messages
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def told(messages: asyncio.Queue[Message]) -> Message:
    return await asyncio.wait_for(messages.get(), 30)


async def test_a_moment_is_told_once_by_a_notifier_that_came_later_too(client: AsyncDejavuClient) -> None:
    await client.publish_games([close_game(REPLAY)])
    for _ in range(2):
        async with running(client, rules("close_late")) as messages:
            message = await told(messages)
            assert message.id == f"dejavu/close_late/{REPLAY}"
            assert message.link == f"https://example.com/game/{REPLAY}"
            assert (message.values["home_score"], message.values["away_team"]) == (101, "NYK")
            await client.publish_games([close_game(REPLAY, seconds_left=200.0), close_game("9900000002")])
            assert (await told(messages)).game_id == "9900000002", "the first game is told already"
            await client.publish_games([close_game("9900000002", status=GameStatus.GAME_STATUS_FINAL)])


async def test_what_is_old_and_what_is_a_replay_is_not_told(client: AsyncDejavuClient) -> None:
    old = close_game("0022600001", observed_time=utc_now() - timedelta(minutes=5))
    await client.publish_games([old, close_game(REPLAY), close_game("0022600002")])
    async with running(client, rules("close_late"), replays=False) as messages:
        assert (await told(messages)).game_id == "0022600002"
        assert messages.empty()


async def predict(client: AsyncDejavuClient, lead: float, minutes: int) -> None:
    await client.predict([lead] * minutes, game_id=REPLAY, horizon=FINAL, home_team="BOS", away_team="NYK")


async def test_a_swing_is_found_with_earlier_forecasts_and_corrected_once(client: AsyncDejavuClient) -> None:
    await predict(client, -20.0, 20)
    async with running(client, rules("swing")) as messages:
        await predict(client, 20.0, 24)
        swing = await told(messages)
        assert "in 4 minutes of play" in swing.text
        await predict(client, -20.0, 24)
        corrected = await told(messages)
        assert (corrected.kind, corrected.rule, corrected.id) == ("corrected", "swing", f"{swing.id}/corrected")
        await predict(client, -21.0, 24)
        await client.publish_games([close_game(REPLAY)])
        await asyncio.sleep(0.2)
        assert messages.empty(), "it is corrected once"


async def test_a_final_says_whether_the_interval_held(client: AsyncDejavuClient) -> None:
    for minutes in (20, 24, 30):
        await predict(client, 10.0, minutes)
    async with running(client, rules("final")) as messages:
        await client.report_outcome(REPLAY, 11, horizon=FINAL, home_team="BOS", away_team="NYK", total_points=211)
        message = await told(messages)
    assert message.text.startswith("BOS by 11 (NYK 100, BOS 111).")
    assert "held; held in 3 of 3 minutes." in message.text
    async with running(client, rules("final")) as messages:
        again = await told(messages)
    assert (again.id, again.text) == (message.id, message.text), "a notifier that came later finds it too"


async def test_what_another_caller_recorded_of_a_game_is_not_told(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    poller, other = (token_file.create(file, name, tuple(AccessScope), utc_now()) for name in ("poller", "other"))
    async with (
        async_worker(tmp_path, shipped=True, tokens=str(file)) as worker,
        AsyncDejavuClient(worker.address, token=poller, timeout=30.0) as client,
        AsyncDejavuClient(worker.address, token=other, timeout=30.0) as stranger,
    ):
        await predict(client, 10.0, 20)
        await predict(stranger, -20.0, 24)
        await client.report_outcome(REPLAY, 11, horizon=FINAL, home_team="BOS", away_team="NYK", total_points=211)
        async with running(client, rules("final")) as messages:
            assert "held; held in 1 of 1 minutes." in (await told(messages)).text
