"""Lists page by page: each item once, a size that is lowered, and no page of another list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.builders.calls import PATTERN, current_game, refusal
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.processes.servers import async_worker

from dejavu.ops.v1.notification_service_pb2 import ListNotificationsRequest, Notification
from dejavu.ops.v1.notification_service_pb2_grpc import NotificationServiceStub
from dejavu.v1.game_service_pb2 import Game, GameStatus, ListGamesRequest
from dejavu.v1.game_service_pb2_grpc import GameServiceStub
from dejavu.v1.model_service_pb2 import ListModelsRequest
from dejavu.v1.model_service_pb2_grpc import ModelServiceStub
from dejavu.v1.record_service_pb2 import ListPredictionsRequest
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_client import HALFTIME, AsyncDejavuClient
from dejavu_common.clock import utc_now

GAMES = [current_game(number) for number in range(5)]
MODELS = ["active", "b", "c", "d", "e"]


LISTS: dict[str, tuple[Any, Any, Callable[[Any], str], list[str]]] = {
    "games": (GameServiceStub, ListGamesRequest, attrgetter("game_id"), GAMES),
    "models": (ModelServiceStub, ListModelsRequest, attrgetter("version"), MODELS),
    "notifications": (NotificationServiceStub, ListNotificationsRequest, attrgetter("id"), GAMES[::-1]),
    "predictions": (RecordServiceStub, ListPredictionsRequest, attrgetter("forecast.game_id"), GAMES[::-1]),
}
"""Name, also of the items of a page → its stub and requests, the id of an item, and the ids of all pages."""


async def page_of(channel: grpc.aio.Channel, name: str, **fields: Any) -> tuple[list[str], str]:
    """Return the ids of a page and the token of the next one."""
    stub, request, id_of, _ = LISTS[name]
    page = await getattr(stub(channel), f"List{name.capitalize()}")(request(**fields))
    return [id_of(each) for each in getattr(page, name)], page.next_page_token


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    """Channel to a worker with five models, published games, notifications and forecasts."""
    async with (
        async_worker(tmp_path, *map(PersistenceForecaster, MODELS)) as worker,
        AsyncDejavuClient(worker.address) as client,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        start = utc_now()
        for number, game_id in enumerate(GAMES):
            game = Game(game_id=game_id, home_team="BOS", away_team="NYK", status=GameStatus.GAME_STATUS_SCHEDULED)
            game.observed_time.FromDatetime(utc_now())
            game.tip_off_time.FromDatetime(start + timedelta(minutes=number // 2))
            await client.publish_games([game])
            notification = Notification(id=game_id, target="phone", rule="half", game_id=game_id, text="half-time")
            await client.claim_notification(notification, "sender", 60.0)
            await client.predict(PATTERN, game_id=game_id, horizon=HALFTIME)
        yield channel


@pytest.mark.parametrize("name", LISTS)
async def test_pages_hold_each_item_once_and_no_page_is_of_another_list(channel: grpc.aio.Channel, name: str) -> None:
    *_, expected = LISTS[name]
    assert await page_of(channel, name, page_size=501) == (expected, "")
    first, token = await page_of(channel, name, page_size=2)
    walked = [*first]
    while token:
        page, token = await page_of(channel, name, page_size=2, page_token=token)
        walked += page
    assert (len(first), walked) == (2, expected)

    refused = await refusal(page_of(channel, name, page_size=-1))
    assert (refused.reason, [*refused.violations]) == ("INVALID_PAGE_SIZE", ["page_size"])
    for other in LISTS.keys() - {name}:
        _, token = await page_of(channel, other, page_size=1)
        for wrong in (token, token[:-4], "?", "bnVsbA==", "W10="):
            refused = await refusal(page_of(channel, name, page_token=wrong))
            assert (refused.reason, [*refused.violations]) == ("INVALID_PAGE_TOKEN", ["page_token"])
