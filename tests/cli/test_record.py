"""The commands that read the track record and report outcomes: requests, output and files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.protobuf.json_format import Parse
from tests.support.fakes.recorded import GAME, card, recorded, timestamp
from tests.support.fakes.service import FakeServer, outcome
from tests.support.harness.clients import Output, Run

from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.forecast_pb2 import LATE_REASON_GAME_DATE, Forecast, TotalForecast
from dejavu.v1.record_pb2 import Checkpoint, RecordedPrediction, TotalSettlement
from dejavu_client import FINAL, HALFTIME

TOTAL = TotalForecast(point_forecast=223.4, interval_lower=206, interval_upper=242, expected_total=231.2)


def listed(*sequences: int, token: str = "") -> pb.ListPredictionsResponse:
    return pb.ListPredictionsResponse(predictions=map(recorded, sequences), next_page_token=token)


def test_every_condition_of_predictions_reaches_the_server(server: FakeServer, run: Run) -> None:
    options = "--from 2026-01-02 --to 2026-01-03 --team bos --horizon end --minute 18 --min-confidence 0.9"
    more = f"--unsettled --model abc --game {GAME} --replays --superseded"
    assert run("predictions", *options.split(), *more.split(), "--limit", "9").exit_code == 0
    assert server.next_call().request == pb.ListPredictionsRequest(
        from_date="2026-01-02",
        to_date="2026-01-03",
        team="bos",
        horizon=FINAL,
        elapsed_minutes=18,
        min_confidence=0.9,
        settled=False,
        model_version="abc",
        game_id=GAME,
        include_replays=True,
        include_superseded=True,
        page_size=10,
    )
    assert run("predictions", "--date", "2026-01-02").exit_code == 0
    expected = pb.ListPredictionsRequest(from_date="2026-01-02", to_date="2026-01-02", page_size=51)
    assert server.next_call().request == expected, "both horizons, settled or not"


def test_predictions_are_a_table_that_tells_what_became_of_them(output: Output) -> None:
    other = recorded(8, settled=False, horizon=FINAL)
    page = pb.ListPredictionsResponse(predictions=[recorded(12), other])
    heading, _, first, second, notes = output(page, "predictions").splitlines()
    assert [" ".join(line.split()) for line in (heading, first, second)] == [
        "date game game id min horizon forecast interval home ahead outcome off by persistence held #",
        "2026-01-14 LAL @ BOS 0022500123 18 half +6.3 −4…+17 BOS 75 % −7 13.2 12.0 no 12",
        "2026-01-14 LAL @ BOS 0022500123 18 end +6.3 −4…+17 BOS 75 % 8",
    ]
    assert notes == "intervals of 95 % · 0 of 1 interval held · points are home − away, intervals the outcomes in them"


def test_late_forecasts_and_those_of_another_day_are_told_apart(output: Output) -> None:
    late = recorded(2, game_date="2024-10-22", late=LATE_REASON_GAME_DATE)
    heading, _, first, second, *notes = output(
        pb.ListPredictionsResponse(predictions=[late, recorded(1)]), "predictions", width=80
    ).splitlines()
    assert heading.split()[:3] == ["made", "game", "of"]
    assert first.split()[:2] == ["2026-01-14", "2024-10-22"]
    assert [line.split()[-1] == "late" for line in (first, second)] == [True, False]
    assert second.split()[:2] == ["2026-01-14", "2026-01-14"]
    assert "0 of 1 interval held · 1 late, which does not count" in " ".join(notes)


@pytest.mark.parametrize("width", [50, 80, 120])
def test_a_narrow_terminal_loses_columns_and_no_part_of_one(server: FakeServer, run: Run, width: int) -> None:
    server.answers("ListPredictions", listed(1234567, 8))
    server.answers(
        "GetLeaderboard",
        pb.GetLeaderboardResponse(rows=[pb.LeaderboardRow(rank=1, model_version="24a8ff7834922bc8", scorecard=card())]),
    )
    for command, kept in (
        ("predictions", ("LAL @ BOS", "+6.3", "−7")),
        ("scorecard --by-model", ("24a8ff7834922bc8", "312")),
    ):
        table = run(*command.split(), width=width).stdout.split(" · ")[0]
        assert "…+" in table or "--by-model" in command or width == 50
        assert all(part in table for part in kept)
        assert max(map(len, table.splitlines()[:3])) <= width


@pytest.mark.parametrize("command", ["predictions", "scorecard"])
def test_an_empty_record_says_that_replays_are_left_out(run: Run, command: str) -> None:
    told = "Replays are left out: --replays includes them."
    assert told in " ".join(run(command).stdout.split())
    assert told not in " ".join(run(command, "--replays").stdout.split())


def test_the_terminal_has_fifty_by_default_and_a_file_all(
    server: FakeServer, run: Run, output: Output, tmp_path: Path
) -> None:
    assert "the newest 50; use --limit for more" in output(listed(*range(60, 9, -1), token="a"), "predictions")
    server.answers("ListPredictions", listed(*range(60, 9, -1), token="a"), listed(*range(9, 0, -1)))
    result = run("predictions", "--csv", str(tmp_path / "a.csv"))
    assert result.stderr == f"60 forecasts in {tmp_path / 'a.csv'}\n"
    assert [call.request.page_size for call in server.of("ListPredictions")] == [51, 500, 500]


def test_json_has_a_line_for_each_prediction(server: FakeServer, run: Run, output: Output) -> None:
    lines = [
        json.loads(line) for line in output((listed(9, 8, token="a"), listed(7)), "predictions", "--json").splitlines()
    ]
    assert [line["forecast"]["sequence"] for line in lines] == ["9", "8", "7"]
    assert lines[0]["settlement"]["absoluteError"] == 13.25
    assert run("predictions", "--json", "--explain").exit_code == 0
    explained = [call.request.return_explanation for call in server.of("ListPredictions")]
    assert explained == [False, False, True]


@pytest.mark.parametrize("command", ["scorecard", "scorecard --by-model"])
def test_scores_can_be_those_of_a_team_a_game_or_confident_forecasts(
    server: FakeServer, run: Run, command: str
) -> None:
    shown = run(*command.split(), "--team", "BOS", "--game", GAME, "--min-confidence", "0.8").stdout
    wanted = pb.ScoreFilter(horizon=HALFTIME, team="BOS", game_id=GAME, min_confidence=0.8)
    assert server.next_call().request.filter == wanted
    assert f"the half, games of BOS, game {GAME}, confidence 80 % or more" in " ".join(shown.split())
    run(*command.split(), "--min-minute", "6", "--max-minute", "12")
    counted = server.next_call().request.filter
    assert (counted.min_minutes, counted.max_minutes) == (6, 12)


def test_a_file_that_cannot_be_written_is_told_and_exits_1(run: Run, tmp_path: Path) -> None:
    for command in ("predictions", "scorecard"):
        for form in ("--csv", "--parquet"):
            result = run(command, form, str(tmp_path / "none" / "file"))
            assert result.exit_code == 1
            assert result.stderr.startswith(f"Error: cannot write {tmp_path / 'none' / 'file'}: ")
    assert run("checkpoint", "--out", str(tmp_path / "none" / "file")).exit_code == 1


def test_a_prediction_is_shown_with_its_past_and_its_end(server: FakeServer, output: Output) -> None:
    prediction = recorded(12, revision=1, quoted=True, total=TOTAL)
    prediction.settlement.total.MergeFrom(TotalSettlement(absolute_error=7.6, pace_absolute_error=8.6, covered=True))
    prediction.outcome.total_points = 231
    answer = pb.GetPredictionResponse(
        prediction=prediction,
        revisions=[recorded(4, superseded=True, pattern=[0, 1, -3], point_forecast=-2.0)],
        outcomes=[outcome(8, differential=3, recorded_time=timestamp()), outcome(9, differential=-7, revision=1)],
    )
    shown = output(answer, "predictions", GAME, "--horizon", "half", "--minute", "18", "--model", "abc")
    request = server.next_call().request
    asked = (request.game_id, request.horizon, request.elapsed_minutes, request.model_version)
    assert asked == (GAME, HALFTIME, 18, "abc")
    for part in (
        "LAL @ BOS · 0022500123",
        "BOS by 6.3",
        "12, revision 1",
        "13.2 points, persistence 12.0",
        "did not hold",
        "0.562",
        "7.50 points",
        "1 other revision",
        "−2.0",
        "revisions of the outcome",
        "BOS −5.5",
        "The model, for the half: LAL +5.5",
        "won, +1.90 % of the bankroll",
        "7.6 points, pace × time 8.6",
        "206…242 held",
    ):
        assert part in shown, shown


def test_without_an_outcome_the_last_forecast_of_a_game_is_no_forecast_of_its_overtime(
    server: FakeServer, run: Run, output: Output
) -> None:
    def last(made: datetime) -> RecordedPrediction:
        one = recorded(12, settled=False)
        one.forecast.MergeFrom(Forecast(horizon=FINAL, elapsed_minutes=47))
        one.forecast.generated_time.FromDatetime(made)
        return one

    playing = "The game is in its last minute or overtime."
    for made, goes_on in ((datetime.now(UTC), True), (datetime(2026, 1, 2, tzinfo=UTC), False)):
        listed_one = pb.ListPredictionsResponse(predictions=[last(made)])
        table = output(listed_one, "predictions")
        assert ("last min/OT" in table, "OT" in table) == (goes_on, goes_on), "nobody reported its end"
        one = pb.GetPredictionResponse(prediction=last(made))
        told = output(one, "predictions", GAME, "--horizon", "final")
        assert (playing in told.replace("\n", " ")) is goes_on


def test_an_outcome_says_that_the_game_went_to_overtime(output: Output) -> None:
    one = recorded(12)
    one.outcome.overtimes = 2
    assert " OT " in output(pb.ListPredictionsResponse(predictions=[one]), "predictions")
    assert "after 2 overtimes" in output(pb.GetPredictionResponse(prediction=one), "predictions", GAME)


def test_a_checkpoint_is_kept_whole_in_a_file(server: FakeServer, run: Run, tmp_path: Path) -> None:
    head = Checkpoint(ledger_id="ab" * 16, epoch="cd" * 8, sequence=7, hash=b"h" * 32, signed_time=timestamp())
    server.answers("GetCheckpoint", *[pb.GetCheckpointResponse(checkpoint=head)] * 3)
    result = run("checkpoint", "--out", str(tmp_path / "head.json"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"checkpoint of the ledger up to entry 7 in {tmp_path / 'head.json'}\n"
    assert Parse((tmp_path / "head.json").read_text(), Checkpoint()) == head
    assert Parse(run("checkpoint").stdout, Checkpoint()) == head
    [line] = run("checkpoint", "--json").stdout.splitlines()
    assert Parse(line, Checkpoint()) == head
    refused = run("checkpoint", "--out", str(tmp_path / "head.json"))
    assert (refused.exit_code, f"{tmp_path / 'head.json'} exists" in refused.stderr) == (1, True)
    assert Parse((tmp_path / "head.json").read_text(), Checkpoint()) == head
    assert run("checkpoint", "--out", str(tmp_path / "head.json"), "--force").exit_code == 0
    assert Parse((tmp_path / "head.json").read_text(), Checkpoint()).sequence == 3
