"""Both clients and the command line against a real server: one evening of a game, from its forecast to its scores."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
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
    HealthStatus,
    InvalidArgumentError,
    NotFoundError,
    market,
    predict_request,
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


async def test_what_if_refusal_batch_models_and_health_come_back(client: AnyClient) -> None:
    async with client:
        forecast = await client.call("predict", PATTERN, explain=True)
        assert forecast.interval_lower <= forecast.point_forecast <= forecast.interval_upper
        assert forecast.HasField("explanation")
        with pytest.raises(InvalidArgumentError) as caught:
            await client.call("predict", [*PATTERN[:-1], float("nan")])
        assert (caught.value.reason, bool(caught.value.request_id)) == ("INVALID_PATTERN", True)
        assert [violation.field for violation in caught.value.field_violations] == ["pattern[17]"]
        good, bad = await client.call("predict_batch", [predict_request(PATTERN), predict_request([])])
        assert (good.WhichOneof("result"), bad.WhichOneof("result")) == ("forecast", "error")
        (model,) = await client.call("list_models")
        assert (model.active, model.version) == (True, forecast.model_version)
        assert await client.call("health", "dejavu.v1.PredictionService") is HealthStatus.SERVING
        with pytest.raises(NotFoundError):
            await client.call("health", "no.such.Service")
        assert 0 <= (await client.call("assess_risk", PATTERN, 80)).score <= 100
        assert len(client.stats.workers) == 1


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


async def test_the_outcome_that_stands_is_read_back_from_the_refusal_without_a_forecast(address: str) -> None:
    """GetPrediction finds nothing where no forecast is recorded."""
    observed, game = datetime.now(UTC) - timedelta(minutes=5), current_game(4)
    with DejavuClient(address, timeout=30.0) as client:
        client.report_outcome(game, 5, observed_time=observed, **TEAMS, horizon=HALFTIME)
        with pytest.raises(FailedPreconditionError, match=r"BKN against GSW: \+5, .*; this report has \+7$") as refused:
            client.report_outcome(game, 7, refuse_correction=True, horizon=HALFTIME)
    stands = dict(refused.value.metadata)
    assert datetime.fromisoformat(stands["observed_time"]) == observed
    assert {name: stands[name] for name in ("differential", *TEAMS)} == {"differential": "5", **TEAMS}


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
