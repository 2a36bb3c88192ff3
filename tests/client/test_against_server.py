"""Both clients and the command line against a real server: one evening of a game, from its forecast to its scores."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.clients import CLIENTS, AnyClient
from tests.support.processes.servers import running_worker
from typer.testing import CliRunner

from dejavu_cli.main import app
from dejavu_client import (
    HALFTIME,
    DejavuClient,
    FailedPreconditionError,
    market,
)
from dejavu_common.clock import game_day

TEAMS: dict[str, Any] = {"home_team": "BKN", "away_team": "GSW"}
GAMES = {kind: current_game(number) for number, kind in enumerate(CLIENTS, start=1)}
"""A game for each client, as both use one server."""
CLI_GAME = current_game(3)


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


@pytest.fixture
def run(address: str) -> Callable[..., str]:
    """Run `dejavu` with arguments and return its output."""

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments), env={"DEJAVU_TARGET": address, "COLUMNS": "120"})
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_the_command_line_tells_a_game_s_story(run: Callable[..., str], tmp_path: Path) -> None:
    pattern = [f"{lead:g}" for lead in PATTERN]
    teams = ("--home", "BKN", "--away", "GSW")
    run("predict", *pattern, "--game-id", CLI_GAME, "--horizon", "half", *teams)
    assert "No outcome of the half stands." in run("prediction", CLI_GAME)
    assert "settles 1 forecast" in run("report", CLI_GAME, "-3", "--horizon", "half", *teams)
    assert "persistence" in run("prediction", CLI_GAME)
    today = game_day(datetime.now(UTC)).isoformat()
    assert "GSW @ BKN" in run("predictions", "--settled", "--team", "bkn", "--date", today)
    assert "Only one game" in run("scorecard", "--game", CLI_GAME)
    assert "1 game or more" in run("leaderboard", "--min-games", "1", "--metric", "mae")

    # To files: the worker runs in this process and logs to standard output.
    for command in ("predictions", "scorecard"):
        run(command, "--game", CLI_GAME, "--csv", str(tmp_path / f"{command}.csv"))
    run("predictions", "--game", CLI_GAME, "--parquet", str(tmp_path / "predictions.parquet"))
    [row] = csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines())
    [same] = parquet.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert (row["game_id"], row["outcome"]) == (same["game_id"], str(same["outcome"])) == (CLI_GAME, "-3")
    figures = {
        row["figure"]: float(row["value"])
        for row in csv.DictReader((tmp_path / "scorecard.csv").read_text().splitlines())
    }
    assert (figures["mae"], figures["crps"]) == (same["absolute_error"], same["crps"])

    assert "it had settled 1 forecast" in run("report", CLI_GAME, "--horizon", "half", "--withdraw")
    assert "withdrawn" in run("prediction", CLI_GAME)
