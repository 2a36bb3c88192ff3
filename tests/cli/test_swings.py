"""The program `dejavu swings`: the plays of games in a file, from a server's what-ifs."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.support.fakes.service import FakeServer
from tests.support.harness.clients import Run

from dejavu.v1.forecast_pb2 import WARNING_REASON_RATINGS_OUTDATED, Forecast, ReliabilityWarning
from dejavu.v1.prediction_service_pb2 import PredictBatchRequest, PredictBatchResponse, PredictBatchResult

COURSE = [(0.0, 0, 0), (100.0, 3, 0), (800.0, 3, 2), (1500.0, 3, 5), (2200.0, 6, 5), (2800.0, 6, 7)]


@pytest.fixture
def plays(tmp_path: Path) -> str:
    rows = [
        {"game_id": game_id, "type": "RS", "home": game_id[-3:], "away": away,
         "elapsed_s": t, "home_score": h, "away_score": a}
        for game_id, away in (("202303060BOS", "LAL"), ("202303060DEN", "MIA"))
        for t, h, a in COURSE
    ]  # fmt: skip
    path = tmp_path / "plays.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def answer(request: PredictBatchRequest) -> PredictBatchResponse:
    warning = ReliabilityWarning(reason=WARNING_REASON_RATINGS_OUTDATED, text="the ratings end too early")
    forecasts = [
        Forecast(home_lead_probability=0.5 + each.moment.differential / 20, expected_margin=2.5, warnings=[warning])
        for each in request.requests
    ]
    return PredictBatchResponse(results=[PredictBatchResult(forecast=each) for each in forecasts])


def test_the_plays_of_a_game_are_shown_in_order_with_its_excitement(server: FakeServer, run: Run, plays: str) -> None:
    server.answers("PredictBatch", answer)
    shown = run("swings", plays, "--date", "2023-03-06", "--team", "Celtics", "--top", "2", width=160).stdout
    assert "LAL 7 @ BOS 6, 2023-03-06" in shown
    assert "DEN" not in shown
    rows = [line.split("│")[1:-1] for line in shown.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["Q1 10:20", "0–3", "BOS", "3", "50 % → 65 %", "+15"],
        ["Q3 11:00", "5–3", "LAL", "3", "55 % → 40 %", "−15"],
    ]
    for part in (
        "BOS +2.5 expected before tip-off",
        "LAL won; its chance was lowest at Q1 10:20",
        "Excitement 0.65",
        "too early",
    ):
        assert part in shown
    batch = server.next_call().request
    assert {(each.home_team, each.away_team, each.game_date) for each in batch.requests} == {
        ("BOS", "LAL", "2023-03-06")
    }


def test_programs_get_all_plays_of_every_game(server: FakeServer, run: Run, plays: str) -> None:
    server.answers("PredictBatch", answer)
    lines = [json.loads(line) for line in run("swings", plays, "--date", "2023-03-06", "--json").stdout.splitlines()]
    assert [(line["homeTeam"], len(line["plays"])) for line in lines] == [("BOS", 5), ("DEN", 5)]
    first = lines[0]["plays"][0]
    assert first == {
        "period": 1, "secondsLeft": 620.0, "homeScore": 3, "awayScore": 0, "side": "home", "points": 3,
        "homeWinBefore": 0.5, "homeWinAfter": 0.65,
    }  # fmt: skip
