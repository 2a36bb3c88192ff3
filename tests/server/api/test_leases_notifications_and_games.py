"""What pollers share: leases, notifications, and games that are published, listed and streamed to all workers."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.processes.servers import async_worker

from dejavu.ops.v1.notification_service_pb2 import Notification, NotificationStatus
from dejavu.v1.forecast_pb2 import MARGIN_SOURCE_FEED
from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_client import HALFTIME, AsyncDejavuClient, FailedPreconditionError, InvalidArgumentError, predict_request
from dejavu_common.clock import microseconds, utc_now
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope
from dejavu_server.coordination.games import MAX_GAMES, MAX_GAMES_OF_CALLER, GameRow
from dejavu_server.streaming.games_in_play import GameNotInPlay, GamesInPlay, PublishedGames


async def test_a_lease_has_one_holder_until_it_is_released(client: AsyncDejavuClient) -> None:
    assert (await client.acquire_lease("poll", "host-a:1", 60.0)).acquired
    other = await client.acquire_lease("poll", "host-b:2", 60.0)
    assert (other.acquired, other.lease.holder) == (False, "host-a:1")
    assert 0 < other.lease.remaining_seconds <= 60
    assert [await client.release_lease("poll", "host-a:1") for _ in range(2)] == [True, False]
    assert await client.get_lease("poll") is None


CLAIMED, SENT, FAILED, WAITING = (
    NotificationStatus.Value(f"NOTIFICATION_STATUS_{name}") for name in ("CLAIMED", "SENT", "FAILED", "WAITING")
)


def note(**fields: Any) -> Notification:
    usual: dict[str, Any] = {"id": "evening/1", "target": "phone", "rule": "close", "text": "BOS 101, NYK 99"}
    return Notification(**(usual | fields))


async def test_one_of_several_senders_sends_a_notification_which_is_listed(client: AsyncDejavuClient) -> None:
    async def claim(sender: str, **fields: Any) -> tuple[bool, str, int, int]:
        """Return whether it was claimed, who has it, its status and the number of attempts."""
        answer = await client.claim_notification(note(**fields), sender, 60.0)
        told = answer.notification
        assert answer.HasField("remaining_seconds") == (told.status in (CLAIMED, WAITING))
        assert told.text == note().text, "that of the first claim"
        return answer.claimed, told.sender, told.status, told.attempts

    confirm = client.confirm_notification
    assert await claim("a") == (True, "a", CLAIMED, 1)
    assert await claim("b", text="another") == (False, "a", CLAIMED, 1)
    assert await claim("a") == (True, "a", CLAIMED, 1), "its sender renews it"
    assert await claim("b", target="radio") == (True, "b", CLAIMED, 1), "each target is claimed for itself"
    assert await confirm(note().id, "phone", "a", SENT)
    assert await claim("b") == (False, "a", SENT, 1)
    assert not await confirm(note().id, "radio", "a", FAILED, failure="not mine")
    assert await confirm(note().id, "radio", "b", WAITING, failure="HTTP 503", retry_delay=60.0)
    assert await claim("a", target="radio") == (False, "b", WAITING, 1)

    await claim("a", id="evening/2")
    assert await confirm("evening/2", "phone", "a", WAITING, failure="HTTP 503", retry_delay=0.0)
    assert await claim("b", id="evening/2") == (True, "b", CLAIMED, 2)
    assert await confirm("evening/2", "phone", "b", FAILED, failure="HTTP 404")
    assert await claim("b", id="evening/2") == (False, "b", FAILED, 2), "it was given up"
    assert not await confirm("nothing", "radio", "b", SENT)
    told = {(each.id, each.target): (each.status, each.failure) for each in await client.list_notifications()}
    assert told.pop(("evening/2", "phone")) == (FAILED, "HTTP 404")
    assert told == {("evening/1", "phone"): (SENT, ""), ("evening/1", "radio"): (WAITING, "HTTP 503")}


def game(number: int = 1, **fields: Any) -> Game:
    """Return a game in its second quarter."""
    now, teams = utc_now(), {"home_team": "BOS", "away_team": "NYK"}
    state: Any = {"status": GameStatus.GAME_STATUS_LIVE, "status_text": "Q2 6:00", "period": 2, "seconds_left": 360.0}
    shown: Any = {"home_score": 41, "away_score": 38, "tip_off_time": now - timedelta(hours=1), "observed_time": now}
    return Game(**({"game_id": f"{22600000 + number:010}"} | teams | state | shown | fields))


async def test_published_games_are_listed_by_tip_off_without_unknown_fields_and_bad_requests(
    client: AsyncDejavuClient,
) -> None:
    with pytest.raises(InvalidArgumentError, match="status_text"):
        await client.publish_games([game(1), game(2, status_text="x" * 65)])
    assert not await client.list_games()
    line = {"pregame_margin": 5.5, "margin_source": MARGIN_SOURCE_FEED, "margin_time": utc_now()}
    later = game(1, home_team="Celtics", pregame_total=221.5, **line)
    first = game(2, tip_off_time=utc_now() - timedelta(hours=2))
    unknown = b"\xfa\x01\x08\x00\x00\x00\x00\x00\x00\x00\x00"  # field 31, eight bytes
    sent = Game.FromString(later.SerializeToString() + unknown)
    sent.observed_time.MergeFromString(unknown)
    await client.publish_games([sent, first])
    earlier, stored = await client.list_games()
    assert earlier.game_id == first.game_id
    assert abs(stored.published_time.ToDatetime(UTC) - utc_now()) < timedelta(minutes=1)
    stored.ClearField("published_time")
    later.home_team = "BOS"
    assert stored.SerializeToString(deterministic=True) == later.SerializeToString(deterministic=True)


async def test_each_worker_s_streams_begin_with_the_games_and_go_on_with_each_new_state(
    client: AsyncDejavuClient, tmp_path: Path, model: PersistenceForecaster
) -> None:
    await client.publish_games([game(1), game(2)])
    async with async_worker(tmp_path, model) as other, AsyncDejavuClient(other.address) as far:
        for each in (client, far):
            async with aclosing(each.stream_games(heartbeats=True)) as events:
                received = [(await anext(events)).WhichOneof("event") for _ in range(3)]
                assert received == ["game", "game", "heartbeat"]
                for points in (43, 46):
                    await client.publish_games([game(1, home_score=points)])
                    event = await anext(events)
                    assert (event.game.game_id, event.game.home_score) == (game(1).game_id, points)


async def test_a_slow_subscriber_gets_the_newest_state_of_each_game(client: AsyncDejavuClient) -> None:
    async with aclosing(client.stream_games(heartbeats=True)) as events:
        assert (await anext(events)).HasField("heartbeat")
        for points in range(40, 60):
            await client.publish_games([game(1, home_score=points), game(2, home_score=points)])
        newest = dict[str, int]()

        async def read() -> None:
            while set(newest.values()) != {59} or len(newest) < 2:
                event = (await anext(events)).game
                assert event.home_score > newest.get(event.game_id, 0), "never an older one after a newer one"
                newest[event.game_id] = event.home_score

        await asyncio.wait_for(read(), 30)


async def test_one_game_too_many_is_refused_and_those_before_stay(client: AsyncDejavuClient) -> None:
    for start in range(0, MAX_GAMES, 100):
        await client.publish_games([game(number) for number in range(start, start + 100)])
    with pytest.raises(FailedPreconditionError) as refused:
        await client.publish_games([game(MAX_GAMES)])
    assert refused.value.reason == "GAMES_FULL"
    await client.publish_games([game(1, home_score=99)])
    assert len(await client.list_games()) == MAX_GAMES


async def test_what_a_damaged_feed_invented_gives_way_to_what_is_still_published(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    token = token_file.create(tokens, "poller", (AccessScope.READ, AccessScope.OUTCOME), utc_now())
    async with (
        async_worker(tmp_path, tokens=str(tokens)) as worker,
        AsyncDejavuClient(worker.address, token=token) as client,
    ):
        for start in (0, 100):
            await client.publish_games([game(number) for number in range(start, start + 100)])
        await client.publish_games([game(number, home_score=50) for number in range(195, 210)])
        kept = {each.game_id: each for each in await client.list_games()}
    assert len(kept) == MAX_GAMES_OF_CALLER
    assert {game(number).game_id for number in range(195, 210)} <= kept.keys()


async def test_a_token_without_the_scope_outcome_forecasts_games_in_play_and_is_named(tmp_path: Path) -> None:
    """Otherwise invented forecasts of late minutes would keep a season of coming games out of the record."""
    tokens = tmp_path / "tokens.json"
    every = (AccessScope.READ, AccessScope.PREDICT, AccessScope.RECORD, AccessScope.OUTCOME)
    trusted = token_file.create(tokens, "poller", every, utc_now())
    writer = token_file.create(tokens, "writer", every[:-1], utc_now())
    in_play, coming = current_game(1), current_game(2)
    async with (
        async_worker(tmp_path, PersistenceForecaster(), tokens=str(tokens)) as worker,
        AsyncDejavuClient(worker.address, token=trusted, timeout=30.0) as poller,
        AsyncDejavuClient(worker.address, token=writer, timeout=30.0) as other,
    ):
        later = game(game_id=coming, status=GameStatus.GAME_STATUS_SCHEDULED)  # late, by its tip-off
        await poller.publish_games([game(game_id=in_play), later])
        assert (await other.predict(PATTERN, horizon=HALFTIME, game_id=in_play)).sequence
        with pytest.raises(FailedPreconditionError) as error:
            await other.predict(PATTERN, horizon=HALFTIME, game_id=coming)
        assert error.value.reason == "GAME_NOT_IN_PLAY"
        batch = [predict_request(PATTERN, horizon=HALFTIME, game_id=each) for each in (in_play, coming)]
        results = await other.predict_batch([*batch, predict_request(PATTERN)])
        assert [each.error.reason for each in results] == ["", "GAME_NOT_IN_PLAY", ""]
        assert (await poller.predict(PATTERN, horizon=HALFTIME, game_id=coming)).sequence
        # So the report of another keeps no alarm about a dead poller quiet (tests/poller/notify/test_conditions.py).
        assert {each.published_by for each in await other.list_games()} == {"token:poller"}
        for each in (other, poller):
            await each.report_feed("nba", 1)
        async with asyncio.timeout(30):
            while len(feeds := (await other.get_service_stats()).feeds) < 2:  # noqa: ASYNC110 - it is sampled
                await asyncio.sleep(0.05)
    assert [each.reported_by for each in feeds] == ["token:poller", "token:writer"]


GAME = "0022600001"


def test_a_forecast_is_hardly_ahead_of_its_game() -> None:
    for period, left, age, latest in (
        (2, 360.0, 0.0, 1080.0 + 20.0),
        (2, 360.0, 15.0, 1080.0 + 35.0),
        (2, 360.0, 300.0, 1080.0 + 80.0),  # the feed may be silent for minutes, in which the game may stand
        # Whoever forecast the third quarter during the break would make the real forecasts of its beginning late.
        (2, 15.0, 0.0, 1440.0),
        (2, 0.0, 300.0, 1440.0),
        (5, 10.0, 10.0, 3180.0),
        (5, None, 0.0, 2880.0 + 20.0),  # a clock that is not known is that of the period's beginning
        (4, None, 0.0, 2160.0 + 20.0),
        (None, None, 0.0, 20.0),
    ):
        now = utc_now()
        shown = game(game_id=GAME, period=period, seconds_left=left)
        shown.observed_time.FromDatetime(now - timedelta(seconds=age))
        published = PublishedGames({GAME: shown})
        published.check(GAME, latest - 0.1, now)
        with pytest.raises(GameNotInPlay):
            published.check(GAME, latest + 0.1, now)


async def test_what_is_not_in_play_is_refused_once_states_of_real_games_are_published() -> None:
    now, replay = utc_now(), "9900000001"
    coming = Game(game_id=GAME, status=GameStatus.GAME_STATUS_SCHEDULED)
    row = GameRow(GAME, coming.SerializeToString(), 1, microseconds(now), "")

    async def published(*rows: GameRow) -> PublishedGames:
        async def states() -> list[GameRow]:
            return [*rows]

        return await GamesInPlay(states).published()

    for nothing in (await published(), await published(replace(row, game_id=replay))):
        nothing.check(GAME, 1080.0, now)
    known = await published(row)
    known.check(replay, 1080.0, now)
    for game_id, fault in ((GAME, "has not begun"), ("0022600002", "is not known")):
        with pytest.raises(GameNotInPlay, match=fault):
            known.check(game_id, 1080.0, now)
