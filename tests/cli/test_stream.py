"""`dejavu stream`: forecasts and outcomes on a line each."""

from __future__ import annotations

import json
from typing import Any

import grpc
from tests.support.fakes.service import Abort, Ended, FakeServer, event, heartbeat, result
from tests.support.harness.clients import Output, Run

from dejavu.v1.forecast_pb2 import WARNING_REASON_MODEL_UNFIT, Moment, ReliabilityWarning
from dejavu_client import FINAL


def test_a_stream_is_printed_line_by_line(server: FakeServer, run: Run) -> None:
    over = [Abort(grpc.StatusCode.OUT_OF_RANGE, "restored", "RESUME_TOKEN_EXPIRED")]
    script = [heartbeat("now"), event(1, home_team="BKN", away_team="GSW", point_forecast=17.3), event(2), *over]
    server.answers("StreamPredictions", script, script)
    options = ["--game", "0022000001", "--game", "0022000002", "--token", "t", "--include-current"]
    result = run("stream", *options)
    assert result.exit_code == 4
    first, second = result.stdout.splitlines()
    assert "GSW @ BKN  min 18  half +17.3 −11…+11 at 95 %  BKN leads 75 %  #1" in first
    assert second.endswith("#2")
    request = server.next_call().request
    assert list(request.game_ids) == ["0022000001", "0022000002"]
    assert (request.resume_token, request.include_current) == ("t", True)
    lines = [json.loads(line) for line in run("stream", "--json", "--heartbeats").stdout.splitlines()]
    assert [line["resumeToken"] for line in lines] == ["now", "after-1", "after-2"]
    assert sorted(lines[0]) == ["heartbeat", "resumeToken"]


def test_outcomes_of_a_stream_are_printed_between_forecasts(run: Run, output: Output) -> None:
    teams = {"home_team": "BKN", "away_team": "GSW"}
    told = [event(1), result(2, differential=-4, **teams), result(3, differential=5, revision=1)]
    over = Abort(grpc.StatusCode.OUT_OF_RANGE)
    _, first, second = output(([*told, over], [*told, over]), "stream").splitlines()
    assert first.endswith("GSW @ BKN · 0022000001  half: GSW by 4 (−4)  #2")
    assert second.endswith("0022000001  half: home by 5 (+5), corrected  #3 revision 1")
    lines = [json.loads(line) for line in run("stream", "--json").stdout.splitlines()]
    assert [line.get("outcome", {}).get("differential") for line in lines] == [None, -4, 5]


def test_a_stream_fits_eighty_columns_and_says_who_leads_who_won_and_what_is_withdrawn(output: Output) -> None:
    teams: dict[str, Any] = {"home_team": "BOS", "away_team": "LAL", "elapsed_minutes": 18, "interval_lower": -25.4}
    teams |= {"interval_upper": 10.7, "home_lead_probability": 0.999, "point_forecast": -17.34}
    first = event(1, **teams, warnings=[ReliabilityWarning(reason=WARNING_REASON_MODEL_UNFIT, text="unfit")])
    first.forecast.explanation.baseline_prediction = -16
    again = event(2, **teams, warnings=[ReliabilityWarning(reason=WARNING_REASON_MODEL_UNFIT, text="unfit")])
    final: dict[str, Any] = {"home_team": "BOS", "away_team": "LAL", "horizon": FINAL}
    gone = result(5, differential=-29, revision=1, withdrawn=True, **final)
    told = [first, again, result(4, differential=-29, **final), gone]
    lines = output([*told, Abort(grpc.StatusCode.OUT_OF_RANGE)], "stream", width=80).splitlines()
    assert [line[10:] for line in lines] == [
        "LAL @ BOS  min 18  now LAL by 16  half −17.3 −25…+10  BOS leads >99 %",
        "model unfit",
        "LAL @ BOS  min 18  half −17.3 −25…+10  BOS leads >99 %",
        "LAL @ BOS  final: LAL by 29 (−29)",
        "LAL @ BOS  final withdrawn: LAL by 29 (−29) no longer counts",
    ]
    assert max(map(len, lines)) <= 80


def test_a_stream_shows_the_clock_of_moments_and_that_a_game_went_to_overtime(output: Output) -> None:
    teams: dict[str, Any] = {"home_team": "BOS", "away_team": "LAL", "horizon": FINAL}
    moment = Moment(period=5, seconds_left=12.3, differential=2)
    last = [event(46, elapsed_minutes=46, **teams), event(47, elapsed_minutes=47, moment=moment, **teams)]
    final = result(50, differential=4, overtimes=1, **teams)
    before, newest, end = output([*last, final, Abort(grpc.StatusCode.OUT_OF_RANGE)], "stream").splitlines()
    assert "min 46" in before
    assert "OT 0:12.3  now BOS by 2" in newest
    assert end.endswith("final: BOS by 4 (+4) after overtime  #50")


def test_a_lost_stream_is_told_on_stderr_alone(server: FakeServer, run: Run) -> None:
    server.answers("StreamPredictions", [event(1), Ended()], [Abort(grpc.StatusCode.OUT_OF_RANGE)])
    result = run("stream", "--json")
    assert len(result.stdout.splitlines()) == 1
    assert "stream_lost" in result.stderr
