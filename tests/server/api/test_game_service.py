"""GameService of real workers: published, listed, streamed to all workers of a ledger."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.processes.servers import async_worker

from dejavu.v1.forecast_pb2 import MARGIN_SOURCE_FEED
from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_client import HALFTIME, AsyncDejavuClient, FailedPreconditionError, InvalidArgumentError, predict_request
from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope
from dejavu_server.coordination.games import MAX_GAMES, MAX_GAMES_OF_CALLER


def game(number: int = 1, **fields: Any) -> Game:
    """Return a game in its second quarter."""
    values: dict[str, Any] = {
        "game_id": f"{22600000 + number:010}",
        "home_team": "BOS",
        "away_team": "NYK",
        "status": GameStatus.GAME_STATUS_LIVE,
        "status_text": "Q2 6:00",
        "home_score": 41,
        "away_score": 38,
        "period": 2,
        "seconds_left": 360.0,
        "tip_off_time": utc_now() - timedelta(hours=1),
        "observed_time": utc_now(),
    }
    return Game(**(values | fields))


async def test_a_published_game_is_listed_as_it_was_read_with_codes_and_the_time_of_the_server(
    client: AsyncDejavuClient,
) -> None:
    line = {"pregame_margin": 5.5, "margin_source": MARGIN_SOURCE_FEED, "margin_time": utc_now()}
    later = game(1, home_team="Celtics", pregame_total=221.5, **line)
    first = game(2, tip_off_time=utc_now() - timedelta(hours=2))
    await client.publish_games([later, first])
    listed = list(await client.list_games())
    assert [each.game_id for each in listed] == [first.game_id, later.game_id], "by tip-off"
    stored = listed[1]
    assert abs(stored.published_time.ToDatetime(UTC) - utc_now()) < timedelta(minutes=1)
    stored.ClearField("published_time")
    later.home_team = "BOS"
    assert stored == later


async def test_a_stream_begins_with_the_games_and_goes_on_with_each_new_state(client: AsyncDejavuClient) -> None:
    await client.publish_games([game(1), game(2)])
    async with aclosing(client.stream_games(heartbeats=True)) as events:
        received = [await anext(events) for _ in range(3)]
        assert [each.WhichOneof("event") for each in received] == ["game", "game", "heartbeat"]
        for points in (43, 46):
            await client.publish_games([game(1, home_score=points)])
            event = await anext(events)
            assert (event.game.game_id, event.game.home_score) == (game(1).game_id, points)


async def test_another_worker_of_the_ledger_sends_it_too(
    client: AsyncDejavuClient, tmp_path: Path, model: PersistenceForecaster
) -> None:
    async with async_worker(tmp_path, model) as other, AsyncDejavuClient(other.address) as far:
        async with aclosing(far.stream_games(heartbeats=True)) as events:
            assert (await anext(events)).HasField("heartbeat")
            for points in (43, 46):
                await client.publish_games([game(1, home_score=points)])
                assert (await anext(events)).game.home_score == points
        assert [each.home_score for each in await far.list_games()] == [46]


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


async def test_nothing_that_the_contract_does_not_know_is_kept(client: AsyncDejavuClient) -> None:
    unknown = b"\xfa\x01\x08\x00\x00\x00\x00\x00\x00\x00\x00"  # field 31, eight bytes
    state = Game.FromString(game().SerializeToString() + unknown)
    for time in (state.observed_time, state.tip_off_time):
        time.MergeFromString(unknown)
    assert state.SerializeToString().count(unknown) == 3
    await client.publish_games([state])
    [stored] = await client.list_games()
    assert unknown not in stored.SerializeToString()
    assert stored.observed_time.ToMicroseconds() == state.observed_time.ToMicroseconds()


async def test_of_a_request_with_a_bad_game_nothing_is_stored(client: AsyncDejavuClient) -> None:
    with pytest.raises(InvalidArgumentError, match="status_text"):
        await client.publish_games([game(1), game(2, status_text="x" * 65)])
    assert not await client.list_games()


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


async def test_a_token_without_the_scope_outcome_forecasts_games_in_play_only_while_states_are_published(
    tmp_path: Path,
) -> None:
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
