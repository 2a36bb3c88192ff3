"""Both clients and the command line, with the track record of a real server."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson, Parse
from pyarrow import parquet
from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.clients import CLIENTS, AnyClient
from tests.support.processes.servers import running_worker
from typer.testing import CliRunner

from dejavu.v1.record_pb2 import Checkpoint
from dejavu_client import (
    FINAL,
    HALFTIME,
    DejavuClient,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    RecordedPrediction,
    market,
)
from dejavu_client.cli.main import app
from dejavu_server.cli.serve import app as server_app

GAME, OTHER_GAME, REPLAYED = current_game(1), current_game(2), "9902000001"
TEAMS = {"home_team": "BKN", "away_team": "GSW"}


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with running_worker(tmp_path) as address:
        yield address


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, address: str) -> AnyClient:
    return CLIENTS[request.param](address)


async def test_an_outcome_settles_what_was_forecast_and_ends_forecasting(client: AnyClient) -> None:
    async with client:
        made = await client.call("predict", PATTERN, game_id=GAME, **TEAMS)
        assert not (await client.call("get_prediction", GAME)).prediction.HasField("outcome")

        told = await client.call("report_outcome", GAME, 7, **TEAMS)
        again = await client.call("report_outcome", GAME, 7, **TEAMS)
        assert (told.settled_forecasts, told.outcome.differential, told.outcome.revision) == (1, 7, 0)
        assert again.outcome == told.outcome
        assert told.outcome.sequence > made.sequence

        found = (await client.call("get_prediction", GAME)).prediction
        assert (found.forecast.sequence, found.outcome) == (made.sequence, told.outcome)
        assert found.settlement.error == pytest.approx(made.point_forecast - 7)
        assert found.settlement.persistence_absolute_error == pytest.approx(abs(PATTERN[-1] - 7))
        assert found.settlement.covered == (made.interval_lower <= 7 <= made.interval_upper)

        with pytest.raises(FailedPreconditionError) as late:
            await client.call("predict", [*PATTERN[:-1], 3.0], game_id=GAME, **TEAMS)
        assert late.value.reason == "OUTCOME_KNOWN"
        stored = await client.call("predict", PATTERN, game_id=GAME, **TEAMS)
        assert stored.sequence == made.sequence


async def test_a_corrected_outcome_settles_anew_and_keeps_what_it_was(client: AnyClient) -> None:
    async with client:
        await client.call("predict", PATTERN, game_id=GAME)
        for differential in (7, -2):
            await client.call("report_outcome", GAME, differential)
        answer = await client.call("get_prediction", GAME)
        assert [outcome.differential for outcome in answer.outcomes] == [7, -2]
        assert answer.prediction.outcome.revision == 1


async def test_pages_hold_every_forecast_once(client: AnyClient) -> None:
    async with client:
        made = [
            (await client.call("predict", PATTERN, game_id=game, alpha=alpha)).sequence
            for alpha in (0.1, 0.2, 0.3)
            for game in (GAME, OTHER_GAME)
        ]
        await client.call("report_outcome", GAME, 7)

        async def listed(**conditions: Any) -> list[int]:
            found: list[RecordedPrediction] = await client.all("list_predictions", page_size=2, **conditions)
            return [each.forecast.sequence for each in found]

        assert await listed() == sorted(made, reverse=True)
        assert await listed(settled=True) == sorted(made[::2], reverse=True)
        assert await listed(game_id=OTHER_GAME, elapsed_minutes=18) == sorted(made[1::2], reverse=True)
        assert await listed(horizon=FINAL) == []
        with pytest.raises(InvalidArgumentError):
            await client.all("list_predictions", page_size=501)


async def test_replays_are_left_out_of_figures_unless_asked_for(client: AnyClient) -> None:
    async with client:
        for game in (GAME, REPLAYED):
            await client.call("predict", PATTERN, game_id=game)
            await client.call("report_outcome", game, 7)
        assert (await client.call("get_scorecard", horizon=HALFTIME)).games == 1
        assert (await client.call("get_scorecard", include_replays=True)).games == 2
        board = await client.call("get_leaderboard", min_games=2, include_replays=True)
        assert [row.scorecard.games for row in board.rows] == [2]
        assert list((await client.call("get_leaderboard", min_games=2)).rows) == []


async def test_a_stream_brings_outcomes_in_the_order_of_forecasts(client: AnyClient, address: str) -> None:
    def an_evening() -> tuple[int, int]:
        with DejavuClient(address) as other:
            made = other.predict(PATTERN, game_id=GAME).sequence
            return made, other.report_outcome(GAME, 7).outcome.sequence

    async with client, asyncio.timeout(20):
        stream = client.stream([GAME], heartbeats=True)
        assert (await anext(stream)).HasField("heartbeat")
        made, told = await asyncio.to_thread(an_evening)
        events = [await anext(stream) for _ in range(2)]
        assert [event.WhichOneof("event") for event in events] == ["forecast", "outcome"]
        assert (events[0].forecast.sequence, events[1].outcome.sequence) == (made, told)
        await stream.aclose()
        resumed = client.stream([GAME], resume_token=events[0].resume_token)
        assert (await anext(resumed)).outcome == events[1].outcome
        await resumed.aclose()


async def test_a_quote_and_a_risk_come_back(client: AnyClient) -> None:
    async with client:
        answer = await client.call("quote", PATTERN, market(0.5, -110, 2.1), game_id=GAME)
        home, away = answer.market.home, answer.market.away
        assert home.win_probability + away.win_probability == pytest.approx(1.0)
        assert home.decimal_odds == pytest.approx(1 + 100 / 110)
        recorded = (await client.call("get_prediction", GAME)).prediction
        assert recorded.market.line == 0.5
        assert recorded.market_answer == answer.market
        risk = await client.call("assess_risk", PATTERN, 80)
        assert 0 <= risk.score <= 100
        assert sum(factor.contribution for factor in risk.factors) == pytest.approx(risk.score)


async def test_a_checkpoint_stands_for_the_newest_entry(client: AnyClient) -> None:
    async with client:
        empty = await client.call("get_checkpoint")
        made = await client.call("predict", PATTERN, game_id=GAME)
        head: Checkpoint = await client.call("get_checkpoint")
        assert (empty.sequence, head.sequence) == (0, made.sequence)
        assert (len(head.hash), len(head.public_key), len(head.signature)) == (32, 32, 64)
        assert (empty.ledger_id, empty.public_key) == (head.ledger_id, head.public_key)


async def test_a_game_that_is_not_in_the_record_is_not_found(client: AnyClient) -> None:
    async with client:
        with pytest.raises(NotFoundError):
            await client.call("get_prediction", GAME)
        with pytest.raises(InvalidArgumentError):
            await client.call("report_outcome", GAME, 0, horizon=FINAL)


async def test_the_outcome_that_stands_is_read_back_from_the_refusal_without_a_forecast(client: AnyClient) -> None:
    """GetPrediction finds nothing where no forecast is recorded."""
    observed = datetime.now(UTC) - timedelta(minutes=5)
    async with client:
        await client.call("report_outcome", GAME, 5, horizon=FINAL, observed_time=observed, **TEAMS)
        with pytest.raises(FailedPreconditionError, match=r"BKN against GSW: \+5, .*; this report has \+7$") as refused:
            await client.call("report_outcome", GAME, 7, horizon=FINAL, refuse_correction=True)
    stands = dict(refused.value.metadata)
    assert datetime.fromisoformat(stands.pop("observed_time")) == observed
    assert stands == {"differential": "5", "revision": "0", "sequence": "1", **TEAMS}


@pytest.fixture
def run(address: str) -> Callable[..., str]:
    """Runs `dejavu` with arguments and returns its output."""

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments), env={"DEJAVU_TARGET": address, "COLUMNS": "120"})
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_the_command_line_tells_a_game_s_story(run: Callable[..., str], tmp_path: Path) -> None:
    pattern = [f"{lead:g}" for lead in PATTERN]
    run("predict", *pattern, "--game-id", GAME, "--home", "BKN", "--away", "GSW")
    assert "No outcome of the half stands." in run("prediction", GAME)
    assert "settles 1 forecast" in run("report", GAME, "-3", "--horizon", "half", "--home", "BKN", "--away", "GSW")
    assert "persistence" in run("prediction", GAME)
    assert "GSW @ BKN" in run("predictions", "--settled", "--team", "bkn", "--date", f"{_today()}")
    assert "Only one game" in run("scorecard")
    assert "1 game or more" in run("leaderboard", "--min-games", "1", "--metric", "mae")

    # To files: the worker runs in this process and logs to standard output.
    for command in ("predictions", "scorecard"):
        run(command, "--csv", str(tmp_path / f"{command}.csv"))
    run("predictions", "--parquet", str(tmp_path / "predictions.parquet"))
    [row] = csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines())
    [same] = parquet.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert (row["game_id"], row["outcome"]) == (same["game_id"], str(same["outcome"])) == (GAME, "-3")
    figures = {
        row["figure"]: float(row["value"])
        for row in csv.DictReader((tmp_path / "scorecard.csv").read_text().splitlines())
    }
    assert (figures["mae"], figures["crps"]) == (same["absolute_error"], same["crps"])

    assert "it had settled 1 forecast" in run("report", GAME, "--horizon", "half", "--withdraw")
    shown = run("prediction", GAME)
    assert "No outcome of the half stands." in shown
    assert "withdrawn" in shown
    assert float(row["crps"]) == same["crps"]


def test_a_checkpoint_that_a_client_kept_is_one_to_verify_a_ledger_with(
    run: Callable[..., str], tmp_path: Path
) -> None:
    url, kept = f"sqlite:///{tmp_path / 'ledger.sqlite3'}", tmp_path / "kept.json"
    verify = ["ledger", "verify", "--ledger", url, "--checkpoint", str(kept)]
    for differential in ("3", "4"):
        run("report", GAME, differential, "--horizon", "half", "--correct")
    run("checkpoint", "--out", str(kept))
    assert CliRunner().invoke(server_app, verify).exit_code == 0

    head = Parse(kept.read_text(), Checkpoint())
    head.hash = bytes(reversed(head.hash))
    kept.write_text(MessageToJson(head))
    assert CliRunner().invoke(server_app, verify).exit_code != 0


def _today() -> str:
    """Returns the date of games played now, by the contract's rule for the track record."""
    from dejavu_feed.game_day import game_day

    return game_day(datetime.now(UTC)).isoformat()
