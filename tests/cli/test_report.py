"""`dejavu report`: outcomes that are reported, corrected or withdrawn."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import grpc
import pytest
from tests.support.fakes.recorded import GAME, timestamp
from tests.support.fakes.service import Abort, FakeServer, outcome
from tests.support.harness.clients import Run

from dejavu.v1.record_pb2 import Checkpoint
from dejavu.v1.record_service_pb2 import (
    GetCheckpointResponse,
    GetPredictionResponse,
    ReportOutcomeResponse,
    WithdrawOutcomeResponse,
)
from dejavu_client import FINAL, HALFTIME


@pytest.fixture
def empty_ledger(server: FakeServer) -> None:
    """Make every report newer than the head of the ledger."""
    server.answers("GetCheckpoint", *[GetCheckpointResponse(checkpoint=Checkpoint(sequence=0))] * 3)


@pytest.mark.usefixtures("empty_ledger")
def test_a_report_may_be_negative_and_says_what_it_settles(server: FakeServer, run: Run) -> None:
    told = outcome(9, game_id=GAME, differential=-4, home_team="BOS", away_team="LAL", revision=1)
    server.answers("ReportOutcome", ReportOutcomeResponse(outcome=told, settled_forecasts=12))
    options = "--horizon half --home BOS --away LAL --observed 2026-01-15T21:40:00-05:00"
    result = run("report", GAME, "-4", *options.split())
    assert result.stdout == (
        "LAL @ BOS · 0022500123: LAL by 4 (−4) at the half, recorded as 9, revision 1; settles 12 forecasts\n"
    )
    (request,) = [call.request for call in server.of("ReportOutcome")]
    assert (request.game_id, request.differential, request.horizon) == (GAME, -4, HALFTIME)
    assert (request.home_team, request.away_team) == ("BOS", "LAL")
    assert request.observed_time.ToDatetime(tzinfo=UTC) == datetime(2026, 1, 16, 2, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"total_points": 212}, "212 points of both teams"),
        ({"overtimes": 2}, "away by 4 (−4) at the half after 2 overtimes, recorded"),
    ],
    ids=["points", "overtimes"],
)
def test_a_report_may_have_points_and_overtimes(
    server: FakeServer, run: Run, options: dict[str, int], shown: str
) -> None:
    [(name, value)] = options.items()
    answer = ReportOutcomeResponse(outcome=outcome(9, game_id=GAME, differential=-4, **options))
    server.answers("ReportOutcome", answer)
    result = run("report", GAME, "-4", "--horizon", "end", f"--{name.replace('_', '-')}", f"{value}")
    assert shown in result.stdout
    [call] = server.of("ReportOutcome")
    assert (call.request.horizon, getattr(call.request, name)) == (FINAL, value)


def test_a_report_says_what_stands_and_overturns_it_only_if_told_to(server: FakeServer, run: Run) -> None:
    stands = Abort(grpc.StatusCode.FAILED_PRECONDITION, "another outcome stands: +3", reason="OUTCOME_STANDS")
    server.answers("ReportOutcome", stands)
    refused = run("report", GAME, "4", "--horizon", "half")
    assert refused.exit_code == 4
    assert "another outcome stands: +3" in refused.stderr
    assert "--correct overturns the outcome" in refused.stderr
    (call,) = server.of("ReportOutcome")
    assert call.request.refuse_correction
    teams = {"game_id": GAME, "home_team": "WAS", "away_team": "UTA"}
    before = outcome(488, differential=-2, recorded_time=timestamp(), **teams)
    for known, told in (
        ([], "Corrected; the previous outcome was +3\n"),
        ([before], "Corrected: UTA by 2 (−2), recorded 2026-01-15 02:31 as 488, is now WAS by 5 (+5)\n"),
    ):
        server.answers("GetPrediction", GetPredictionResponse(outcomes=known))
        server.answers("ReportOutcome", stands, ReportOutcomeResponse(outcome=outcome(500, differential=5, **teams)))
        corrected = run("report", GAME, "5", "--horizon", "half", "--correct")
        assert (corrected.exit_code, corrected.stderr) == (0, told)
        assert [call.request.refuse_correction for call in server.of("ReportOutcome")][-2:] == [True, False]


def test_a_repeated_report_says_that_nothing_changed(server: FakeServer, run: Run) -> None:
    server.answers("GetCheckpoint", GetCheckpointResponse(checkpoint=Checkpoint(sequence=490)))
    server.answers("ReportOutcome", ReportOutcomeResponse(outcome=outcome(488, game_id=GAME, differential=4)))
    result = run("report", GAME, "4", "--horizon", "half")
    assert result.stdout == "0022500123: home by 4 (+4) at the half, already recorded as 488, nothing changed\n"


def test_an_outcome_is_reported_also_where_no_checkpoint_can_be_signed(server: FakeServer, run: Run) -> None:
    unsigned = Abort(grpc.StatusCode.UNAVAILABLE, "no key", reason="SIGNING_UNAVAILABLE")
    server.answers("GetCheckpoint", *[unsigned] * 10)
    result = run("report", GAME, "4", "--horizon", "final")
    assert result.stdout == "0022500123: home by 4 (+4) at the end, recorded as 1; settles no forecasts\n"
    assert json.loads(run("report", GAME, "4", "--horizon", "final", "--json").stdout)["outcome"]["differential"] == 4


def test_a_withdrawal_says_what_it_takes_back(server: FakeServer, run: Run) -> None:
    told = outcome(9, game_id=GAME, differential=-4, home_team="BOS", away_team="LAL", revision=1)
    told.withdrawn = True
    server.answers("WithdrawOutcome", WithdrawOutcomeResponse(outcome=told, unsettled_forecasts=12))
    result = run("report", GAME, "--horizon", "half", "--withdraw")
    assert result.stdout == (
        "LAL @ BOS · 0022500123: LAL by 4 (−4) at the half is withdrawn, recorded as 9; it had settled 12 forecasts\n"
    )
    assert server.next_call().request.game_id == GAME
