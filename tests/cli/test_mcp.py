"""`dejavu mcp` with the client of the official SDK, on standard input and output, and a real server."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.evenings import close_game
from tests.support.harness.documents import blocks
from tests.support.processes.servers import async_worker

from dejavu.v1.game_service_pb2 import GameStatus
from dejavu_client import FINAL, AsyncDejavuClient

GAME = "9900000001"


async def test_an_assistant_reads_games_a_forecast_and_the_record(tmp_path: Path) -> None:
    from mcp import Client, StdioServerParameters  # slow: it makes the models of its messages

    async with (
        async_worker(tmp_path, shipped=True) as worker,
        AsyncDejavuClient(worker.address, timeout=30.0) as dejavu,
    ):
        await dejavu.publish_games([close_game(GAME, period=3, seconds_left=700.0)])
        teams: Any = {"home_team": "BOS", "away_team": "NYK"}
        forecast = await dejavu.predict([float(n % 7) for n in range(24)], game_id=GAME, horizon=FINAL, **teams)
        program = StdioServerParameters(
            command=sys.executable,
            args=["-m", "dejavu_cli", "mcp", "--replays", "--target", worker.address],
            env=dict(os.environ),
        )
        async with Client(program, read_timeout_seconds=60) as assistant:

            async def call(tool: str, **given: Any) -> Any:
                answer = await assistant.call_tool(tool, given)
                assert not answer.is_error, answer.content
                return answer.structured_content

            async def refused(tool: str, **given: Any) -> str:
                answer = await assistant.call_tool(tool, given)
                assert answer.is_error
                return json.dumps([each.model_dump() for each in answer.content])

            tools = {tool.name: tool for tool in (await assistant.list_tools()).tools}
            assert tools.keys() == {"list_games", "get_forecast", "get_scorecard"}
            assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in tools.values())
            assert "not shown to be better than the betting market" in (assistant.instructions or "")

            [game] = (await call("list_games"))["games"]
            assert (game["game_id"], game["status"], game["home_score"]) == (GAME, "GAME_STATUS_LIVE", 101)
            assert not {"status_text", "published_by"} & game.keys(), "no free text of a feed or a caller"

            for named in (GAME, "Celtics"):
                answer = await call("get_forecast", game=named)
                assert answer["game_id"] == GAME
                assert (answer["interval_lower"], answer["interval_upper"]) == (
                    forecast.interval_lower,
                    forecast.interval_upper,
                )
                assert (answer["persistence"], answer["made_at"], answer["outcome"]) == (2.0, "minute 24", None)
                assert (answer["is_current"], answer["late"], answer["is_replay"]) == (True, None, True)
                assert "not shown to be better" in answer["note"]
                assert_explained(answer)

            await dejavu.publish_games([close_game(GAME, period=3, seconds_left=600.0)])
            assert not (await call("get_forecast", game=GAME))["is_current"], "the game went on without forecasts"
            await dejavu.publish_games([close_game(GAME, status=GameStatus.GAME_STATUS_FINAL)])
            assert not (await call("get_forecast", game=GAME))["is_current"], "the feed shows the game as over"
            late = await dejavu.predict(
                [3.0] * 20, game_id="0022500007", horizon=FINAL, game_date="2026-01-20", **teams
            )
            answer = await call("get_forecast", game="0022500007")
            assert bool(late.late)
            assert (answer["is_current"], answer["is_replay"]) == (False, False)
            assert "made after the day of the game" in answer["late"]

            await dejavu.report_outcome(GAME, 11, horizon=FINAL, total_points=211, **teams)
            answer = await call("get_forecast", game=GAME)
            assert (answer["outcome"], answer["interval_held"], answer["is_current"]) == (11, True, False)
            card = await call("get_scorecard", team="BOS")
            settled = await dejavu.get_scorecard(horizon=FINAL, include_replays=True)
            assert card["games"] == 1
            assert card["mae"]["value"] == settled.mae.value
            assert card["persistence_mae"]["value"] == 9.0
            assert "lower" not in card["mae_difference"], "one game has no interval"

            assert "Lakers" in await refused("get_forecast", game="Lakerz")
            assert "LAL has no game" in await refused("get_forecast", game="LAL")
            assert "no forecast of" in await refused("get_forecast", game="9900000009")
            assert "from_date" in await refused("get_scorecard", from_date="yesterday")
            assert "half" in await refused("get_forecast", game=GAME, horizon="quarter")


def test_the_documented_configuration_starts_it() -> None:
    [block] = [block for block in blocks("docs/watch.md", "json") if "mcpServers" in block.text]
    [server] = json.loads(block.text)["mcpServers"].values()
    assert server["args"][0] == "mcp"


def assert_explained(answer: dict[str, Any]) -> None:
    """Assert that an answer has the similar games without their courses, and terms that sum to its point."""
    assert len(answer["similar_games"]) == 5
    assert all("course" not in each for each in answer["similar_games"])
    assert answer["similar_summary"]["games"] > 5
    assert sum(each["weight"] for each in answer["components"]) == pytest.approx(1)
    assert sum(each["points"] for each in answer["contributions"]) == pytest.approx(answer["point_forecast"])
