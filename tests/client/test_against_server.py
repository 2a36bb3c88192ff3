"""Both clients against a real server: one evening of a game, from its forecast to its scores."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.clients import CLIENTS, AnyClient
from tests.support.processes.servers import running_worker

from dejavu_client import (
    HALFTIME,
    AsyncDejavuClient,
    DeadlineExceededError,
    DejavuClient,
    FailedPreconditionError,
    market,
)

TEAMS: dict[str, Any] = {"home_team": "BKN", "away_team": "GSW"}
GAMES = {kind: current_game(number) for number, kind in enumerate(CLIENTS, start=1)}
"""A game for each client, as both use one server."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_worker(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture(params=CLIENTS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(kind: str, address: str) -> AnyClient:
    return CLIENTS[kind](address, timeout=30.0)


async def test_a_game_is_streamed_recorded_settled_and_scored(client: AnyClient, kind: str, address: str) -> None:
    game = GAMES[kind]

    def an_evening() -> tuple[int, int]:
        with DejavuClient(address, timeout=30.0) as other:
            made = other.quote(PATTERN, market(0.5, -110, 2.1), horizon=HALFTIME, game_id=game, **TEAMS).forecast
            return made.sequence, other.report_outcome(game, 7, **TEAMS, horizon=HALFTIME).outcome.sequence

    async with client, asyncio.timeout(60):
        stream = client.stream([game], heartbeats=True)
        assert (await anext(stream)).HasField("heartbeat")
        sequences = await asyncio.to_thread(an_evening)
        events = [await anext(stream) for _ in range(2)]
        assert (events[0].forecast.sequence, events[1].outcome.sequence) == sequences
        await stream.aclose()
        resumed = client.stream([game], resume_token=events[0].resume_token)
        assert (await anext(resumed)).outcome == events[1].outcome
        await resumed.aclose()

        found = (await client.call("get_prediction", game)).prediction
        assert (found.forecast.sequence, found.outcome.differential, found.markets[0].market.line) == (
            sequences[0],
            7,
            0.5,
        )
        assert found.settlement.error == pytest.approx(found.forecast.point_forecast - 7)
        again = await client.call("predict", PATTERN, horizon=HALFTIME, game_id=game, **TEAMS)
        assert again.sequence == sequences[0]
        with pytest.raises(FailedPreconditionError) as late:
            await client.call("predict", [*PATTERN[:-1], 3.0], horizon=HALFTIME, game_id=game, **TEAMS)
        assert late.value.reason == "OUTCOME_KNOWN"
        [listed] = await client.all("list_predictions", game_id=game, settled=True, page_size=1)
        assert listed.forecast.sequence == sequences[0]
        assert (await client.call("get_scorecard", game_id=game)).games == 1
        assert (await client.call("get_leaderboard", game_id=game, min_games=1)).rows[0].scorecard.games == 1
        checkpoint = await client.call("get_checkpoint")
        assert (len(checkpoint.hash), len(checkpoint.signature)) == (32, 64)


async def test_a_thousand_calls_at_once_are_all_answered(address: str) -> None:
    """More than a server takes on the connections of a client at once: the others wait in the client."""
    async with AsyncDejavuClient(address, timeout=60.0) as client, asyncio.timeout(60):
        answers = await asyncio.gather(*(client.predict([*PATTERN[:-1], float(number % 9)]) for number in range(1000)))
    assert len(answers) == 1000


async def test_a_call_that_waits_for_its_turn_longer_than_it_may_is_not_sent(address: str) -> None:
    async with AsyncDejavuClient(address, timeout=30.0, channels=1) as client, asyncio.timeout(60):
        long = [asyncio.create_task(client.predict([*PATTERN[:-1], float(number % 9)])) for number in range(640)]
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceededError, match="not sent within"):
            await client.predict(PATTERN, timeout=0.001)
        assert len(await asyncio.gather(*long)) == 640
